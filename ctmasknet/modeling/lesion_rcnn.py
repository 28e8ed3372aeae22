"""The lesion model, and the input that both models share.

Shapes: B images.
"""

from itertools import chain

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.structures import ImageList, Instances

from ..config import require_one_of
from ..fast.convolution import use_lean_convolutions
from ..fast.grey_input import grey_batch
from ..fast.malloc import keep_freed_memory
from ..fast.mask_paste import postprocess
from ..fast.microbatches import image_groups, map_groups
from ..fast.stem import PoolingStem, use_pooling_stem
from .finite import naming_images
from .precision import PRECISIONS, autocast, dtype_of
from .profiling import stage


@META_ARCH_REGISTRY.register()
class LesionRCNN(GeneralizedRCNN):
    """Detectron2's GeneralizedRCNN that normalises images in the precision of its weights.

    Stock Detectron2 keeps MODEL.PIXEL_MEAN and PIXEL_STD in float32, also in a float64 network,
    which moves its answers by 1e-6.

    Attributes:
        precision: dtype of convolutions and matrices.
        concurrent: whether, on a CPU, PyTorch's threads may take the images of a batch side by
            side, instead of each image together.
    """

    concurrent = True

    @configurable
    def __init__(
        self,
        *,
        pixel_mean: tuple[float, ...],
        pixel_std: tuple[float, ...],
        precision: str = "float32",
        **kwargs,
    ):
        """Build the network.

        Args:
            pixel_mean, pixel_std: one number for each channel, in the images' range 0..255.
            precision: of convolutions and matrices; see MODEL.PRECISION.
            kwargs: those of GeneralizedRCNN.

        Raises:
            ValueError: unknown precision.
        """
        require_one_of("MODEL.PRECISION", precision, PRECISIONS)
        super().__init__(pixel_mean=pixel_mean, pixel_std=pixel_std, **kwargs)
        self._mean = [x / 255 for x in pixel_mean]
        self._std = [x / 255 for x in pixel_std]
        self.precision = dtype_of(precision)
        use_lean_convolutions(self)
        use_pooling_stem(self.backbone, pixel_mean, pixel_std)
        keep_freed_memory()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return {**super().from_config(cfg), "precision": cfg.MODEL.PRECISION}

    def forward(self, batched_inputs: list[dict]) -> dict[str, torch.Tensor] | list[dict]:
        """As GeneralizedRCNN; an image that gives NaN or infinity is named (NotFiniteError)."""
        if not self.training:
            return self.inference(batched_inputs)
        with naming_images(batched_inputs), autocast(self.device, self.precision):
            return super().forward(batched_inputs)

    def inference(
        self,
        batched_inputs: list[dict],
        detected_instances: list[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> list[dict] | list[Instances]:
        """As GeneralizedRCNN; an image's answer does not depend on the others of its batch.

        Raises:
            NotFiniteError: an image gives NaN or infinity; names it.
        """
        if detected_instances is not None:
            with naming_images(batched_inputs), autocast(self.device, self.precision):
                return super().inference(batched_inputs, detected_instances, do_postprocess)

        def infer(group: list[dict]) -> list:
            with naming_images(group), autocast(self.device, self.precision):
                return self._infer(group, do_postprocess)

        # With gradients, a group's are not taken here: nothing would be freed before the next.
        threads = 1 if torch.is_grad_enabled() else self._side_by_side(len(batched_inputs))
        groups = image_groups(batched_inputs, self.device, self.precision, at_least=threads)
        return list(chain.from_iterable(map_groups(infer, list(groups), threads)))

    def _side_by_side(self, images: int) -> int:
        """How many groups of this many images are computed at a time, each on one thread."""
        threads = torch.get_num_threads()
        enough = self.concurrent and self.device.type == "cpu" and images >= threads
        return threads if enough else 1

    def _infer(self, group: list[dict], do_postprocess: bool) -> list:
        found = super().inference(group, None, do_postprocess=False)
        return self._pasted(group, found) if do_postprocess else found

    def _pasted(self, group: list[dict], found: list[Instances]) -> list[dict]:
        """Instances in the sizes that the inputs ask for, their masks pasted."""
        with stage("paste"):
            return [
                {
                    "instances": postprocess(
                        own,
                        x.get("height", own.image_size[0]),
                        x.get("width", own.image_size[1]),
                    )
                }
                for own, x in zip(found, group, strict=True)
            ]

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        """Normalise the images of a batch and pad them with zeros to one size.

        Args:
            batched_inputs: one per image: "image", (3, height, width), uint8 or float in 0..255.

        Returns:
            The batch, (B, 3, height, width) in the precision of the weights, channels last. Grey
            8-bit images with nothing to pad, on a CPU and for weights that are fixed, come as
            (B, 1, height, width), not normalised: see `grey_batch`.
        """
        with stage("preprocess"):
            images = [x["image"].to(self.device) for x in batched_inputs]
            step = max(self.backbone.size_divisibility, 1)
            shapes = {image.shape for image in images}
            if len(shapes) == 1 and not any(side % step for side in images[0].shape[1:]):
                grey = grey_batch(images) if self._takes_grey else None  # nothing to pad
                batch = self._normalised(torch.stack(images)) if grey is None else grey
                padded = ImageList(batch, [tuple(images[0].shape[1:])] * len(images))
            else:
                padded = ImageList.from_tensors(
                    [self._normalised(image) for image in images],
                    self.backbone.size_divisibility,
                    padding_constraints=self.backbone.padding_constraints,
                )
            padded.tensor = padded.tensor.contiguous(memory_format=torch.channels_last)
            return padded

    @property
    def _takes_grey(self) -> bool:
        stem = getattr(getattr(self.backbone, "bottom_up", None), "stem", None)
        return isinstance(stem, PoolingStem) and stem.takes_grey

    def _normalised(self, image: torch.Tensor) -> torch.Tensor:
        dtype = self.pixel_mean.dtype
        mean, std = (
            torch.tensor(values, dtype=dtype, device=self.device)[:, None, None]
            for values in (self._mean, self._std)
        )
        return _unit_range(image, dtype).sub_(mean).div_(std)


def _unit_range(image: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Pixels in 0..1; 8-bit ones by way of float32, as torchvision's ToTensor and the author do."""
    if image.dtype == torch.uint8:
        return image.float().div_(255).to(dtype)
    return image.to(dtype) / 255
