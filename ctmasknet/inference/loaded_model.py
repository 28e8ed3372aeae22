"""A model with its weights that takes slices of any size."""

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.modeling import build_model

from ..checkpoint import load_weights
from ..data.channels import check_channels
from ..data.mapper import build_test_resize, configured_field_of_view
from ..errors import parts_named
from ..fast import accelerate
from ..fast.precision import with_precision
from ..lung import Box
from ..modeling import CTMaskNet, ImageModel
from ..modeling.finite import naming_images
from .forked_process import check_process
from .model_spec import ModelSpec


class LoadedModel:
    """A lesion model or a CT-Mask-Net at inference, which threads may share.

    `lesion_classes` are the names in the order of `pred_classes`, `image_classes` those in the
    order of the logits (none for a lesion model). `precision` is that of convolutions and matrices,
    `field_of_view` what the network is to see of a slice, `channels` what its three channels hold.
    """

    def __init__(
        self,
        spec: ModelSpec,
        device: str,
        precision: str | None = None,
        field_of_view: str | None = None,
    ):
        """Build the model and load its weights; errors as `load_weights`.

        `precision` is as MODEL.PRECISION, `field_of_view` as INPUT.FIELD_OF_VIEW; None takes the
        config's.
        """
        check_process()
        self.spec = spec
        cfg = spec.cfg.clone()
        cfg.defrost()
        cfg.MODEL.DEVICE = device
        cfg.MODEL.PRECISION = precision or cfg.MODEL.PRECISION
        cfg.INPUT.FIELD_OF_VIEW = field_of_view or cfg.INPUT.FIELD_OF_VIEW
        cfg = with_precision(cfg)
        self.precision = cfg.MODEL.PRECISION
        with parts_named(spec.config or spec.name):
            self.model: torch.nn.Module = build_model(cfg).eval()
        load_weights(self.model, spec.weights)
        if cfg.MODEL.FAST:
            accelerate(self.model)
        self._resize = build_test_resize(cfg)
        self.field_of_view = configured_field_of_view(cfg)
        self.channels = check_channels(cfg.INPUT.CHANNELS)
        self._bgr = cfg.INPUT.FORMAT == "BGR"
        self.finds_lesions = not isinstance(self.model, ImageModel)
        self.reads_boxes = isinstance(self.model, CTMaskNet)
        self.has_masks = bool(cfg.MODEL.MASK_ON)
        self.lesion_classes = spec.lesion_classes
        self.image_classes = spec.image_classes

    @torch.no_grad()
    def __call__(
        self, images: Sequence[np.ndarray], names: Sequence[str] = (), field: Box | None = None
    ) -> list[dict]:
        """Run a batch of slices of one size, each (H, W, 3) uint8 RGB, or the same part of each.

        Returns one dict per slice: "instances" with raw masks (not of a baseline), on the model's
        device, in pixels of the network's input; "input_size", its (h, w); "field", what it was
        made of; of a classifier also what its `inference` returns. Raises a NotFiniteError, with
        the slice's name, if one gives NaN or infinity, and a RuntimeError in a forked process
        (forked_process.py).
        """
        check_process()
        x0, y0, x1, y1 = field or (0, 0, *images[0].shape[1::-1])
        inputs: list[dict] = [{"image": self._tensor(image[y0:y1, x0:x1])} for image in images]
        for x, name in zip(inputs, names, strict=False):
            x["file_name"] = name
        with naming_images(inputs):
            outputs = self.model.inference(inputs, do_postprocess=False)  # type: ignore[operator]
        # A lesion model returns bare instances.
        found = [out if isinstance(out, dict) else {"instances": out} for out in outputs]
        sizes = [tuple(x["image"].shape[-2:]) for x in inputs]
        return [
            {**out, "input_size": size, "field": field}
            for out, size in zip(found, sizes, strict=True)
        ]

    def _tensor(self, image: np.ndarray) -> torch.Tensor:
        """Return (3, h, w), resized and in the model's order of channels."""
        if self._bgr:
            image = image[:, :, ::-1]
        resized = self._resize.get_transform(image).apply_image(image)
        return torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)))


def choose_device(name: str) -> str:
    """Return "cpu", "cuda", "cuda:1", ...; "auto" is a GPU if there is one.

    Raises a ValueError for a device that does not exist.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device '{name}': {str(error).splitlines()[0]}") from None
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device '{name}': PyTorch finds no GPU; use auto or cpu")
    return name
