"""The lesion model: Mask R-CNN on CT slices.

Shapes: B images of H x W pixels.
"""

import contextlib
from collections.abc import Callable, Iterator

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import ImageList, Instances

from ..config import require_one_of
from .field import postprocess_field
from .finite import naming_images
from .precision import PRECISIONS, autocast, dtype_of
from .profiling import profiled


@META_ARCH_REGISTRY.register()
class LesionRCNN(GeneralizedRCNN):
    """Detectron2's GeneralizedRCNN that normalises images in the precision of its weights.

    Stock Detectron2 keeps MODEL.PIXEL_MEAN and PIXEL_STD in float32, also in a float64 network,
    which moves its predictions by 1e-6.

    A subclass may find lesions otherwise (`find_lesions`).

    `run_batch`, `extract_features` and `postprocess` are seams: `ctmasknet.fast.accelerate` puts
    faster functions in their place.

    Attributes:
        precision: dtype of convolutions and matrices.
    """

    postprocess = staticmethod(detector_postprocess)

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
        self.mean_and_std = tuple(pixel_mean), tuple(pixel_std)
        self.precision = dtype_of(precision)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return {**super().from_config(cfg), "precision": cfg.MODEL.PRECISION}

    def forward(self, batched_inputs: list[dict]) -> dict[str, torch.Tensor] | list[dict]:
        """As GeneralizedRCNN; an image that gives NaN or infinity is named (NotFiniteError)."""
        if not self.training:
            return self.inference(batched_inputs)
        with self.computing(batched_inputs):
            return super().forward(batched_inputs)

    def inference(
        self,
        batched_inputs: list[dict],
        detected_instances: list[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> list[dict] | list[Instances]:
        """As GeneralizedRCNN.

        Raises:
            NotFiniteError: an image gives NaN or infinity; names it.
        """
        if detected_instances is not None:
            with self.computing(batched_inputs):
                return super().inference(batched_inputs, detected_instances, do_postprocess)

        def infer(inputs: list[dict]) -> list:
            with self.computing(inputs):
                return self._infer(inputs, do_postprocess)

        return self.run_batch(infer, batched_inputs)

    def run_batch(self, infer: Callable[[list[dict]], list], batched_inputs: list[dict]) -> list:
        """Call `infer` on the batch; returns a result for each image."""
        return infer(batched_inputs)

    def _infer(self, inputs: list[dict], do_postprocess: bool) -> list:
        images, features = self.extract_features(inputs)
        found = self.find_lesions(images, features)
        return self._postprocessed(inputs, found) if do_postprocess else found

    def find_lesions(self, images: ImageList, features: dict[str, torch.Tensor]) -> list[Instances]:
        """Return B raw instances, in pixels of the network's input, at inference."""
        proposals, _ = self.proposal_generator(images, features, None)
        found, _ = self.roi_heads(images, features, proposals, None)
        return found

    def extract_features(
        self, batched_inputs: list[dict]
    ) -> tuple[ImageList, dict[str, torch.Tensor]]:
        """Return the preprocessed images and the backbone's features, level name -> values."""
        images = self.preprocess_image(batched_inputs)
        return images, self.backbone(images.tensor)

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        """Normalise the images of a batch and pad them with zeros to one size.

        Args:
            batched_inputs: one per image: "image", (3, height, width), uint8 or float in 0..255.

        Returns:
            The batch, (B, 3, H, W) in the precision of the weights.
        """
        with profiled("preprocess"):
            return ImageList.from_tensors(
                [self._normalised(x["image"].to(self.device)) for x in batched_inputs],
                self.backbone.size_divisibility,
                padding_constraints=self.backbone.padding_constraints,
            )

    def _normalised(self, image: torch.Tensor) -> torch.Tensor:
        dtype = self.pixel_mean.dtype
        mean, std = (
            torch.tensor([x / 255 for x in values], dtype=dtype, device=self.device)[:, None, None]
            for values in self.mean_and_std
        )
        # 8-bit pixels by way of float32, as torchvision's ToTensor and the author do.
        image = image.float() if image.dtype == torch.uint8 else image.to(dtype)
        return (image / 255).to(dtype).sub_(mean).div_(std)

    @contextlib.contextmanager
    def computing(self, inputs: list[dict]) -> Iterator[None]:
        """Compute in the network's precision; a NotFiniteError names one of the inputs."""
        with naming_images(inputs), autocast(self.device, self.precision):
            yield

    def _postprocessed(self, inputs: list[dict], found: list[Instances]) -> list[dict]:
        """Scale instances to the sizes that the inputs ask for, and paste their masks."""
        with profiled("paste"):
            return [
                {
                    "instances": postprocess_field(
                        self.postprocess,
                        own,
                        x.get("field"),
                        x.get("height", own.image_size[0]),
                        x.get("width", own.image_size[1]),
                    )
                }
                for own, x in zip(found, inputs, strict=True)
            ]
