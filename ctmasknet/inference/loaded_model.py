"""A model with its weights that takes slices of any size."""

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.modeling import build_model

from ..checkpoint import load_weights
from ..data.mapper import build_test_resize
from ..fast import accelerate
from ..fast.precision import with_precision
from ..modeling.finite import naming_images
from .model_spec import ModelSpec


class LoadedModel:
    """A lesion model or a CT-Mask-Net at inference, which threads may share.

    `lesion_classes` are the names in the order of `pred_classes`, `image_classes` those in the
    order of the logits (none for a lesion model). `precision` is that of convolutions and matrices.
    """

    def __init__(self, spec: ModelSpec, device: str, precision: str | None = None):
        """Build the model and load its weights; errors as `load_weights`.

        `precision` is as MODEL.PRECISION; None takes the config's.
        """
        self.spec = spec
        cfg = spec.cfg.clone()
        cfg.defrost()
        cfg.MODEL.DEVICE = device
        cfg.MODEL.PRECISION = precision or cfg.MODEL.PRECISION
        cfg = with_precision(cfg)
        self.precision = cfg.MODEL.PRECISION
        try:
            self.model: torch.nn.Module = build_model(cfg).eval()
        except KeyError as error:  # of a registry
            raise ValueError(
                f"{spec.config or spec.name}: {error.args[0]} If the part is your own, import its "
                "module first"
            ) from None
        load_weights(self.model, spec.weights)
        if cfg.MODEL.FAST:
            accelerate(self.model)
        self._resize = build_test_resize(cfg)
        self._bgr = cfg.INPUT.FORMAT == "BGR"
        self.has_masks = bool(cfg.MODEL.MASK_ON)
        self.lesion_classes = spec.lesion_classes
        self.image_classes = spec.image_classes

    @torch.no_grad()
    def __call__(self, images: Sequence[np.ndarray], names: Sequence[str] = ()) -> list[dict]:
        """Run a batch of slices of one size, each (H, W, 3) uint8 RGB.

        Returns one dict per slice: "instances" with raw masks, on the model's device, in pixels of
        the network's input; "input_size", its (h, w); of a CT-Mask-Net also what its `inference`
        returns. Raises a NotFiniteError, with the slice's name, if one gives NaN or infinity.
        """
        inputs: list[dict] = [{"image": self._tensor(image)} for image in images]
        for x, name in zip(inputs, names, strict=False):
            x["file_name"] = name
        with naming_images(inputs):
            outputs = self.model.inference(inputs, do_postprocess=False)  # type: ignore[operator]
        # A lesion model returns bare instances.
        found = [out if isinstance(out, dict) else {"instances": out} for out in outputs]
        return [{**out, "input_size": out["instances"].image_size} for out in found]

    def _tensor(self, image: np.ndarray) -> torch.Tensor:
        """Return (3, h, w), resized and in the model's order of channels."""
        if self._bgr:
            image = image[:, :, ::-1]
        resized = self._resize.get_transform(image).apply_image(image)
        return torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)))
