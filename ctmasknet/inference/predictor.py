"""Run a trained model on single slices."""

from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Instances

from ..checkpoint import load_weights
from ..data.classes import IMAGE_CLASSES, LESION_CLASSES
from ..data.resize import build_test_resize


class Predictor:
    """A lesion model or a CT-Mask-Net with its weights, ready for slices of any size.

    Attributes:
        cfg: the config it was built from.
        lesion_classes: names of the lesion classes, in the order of `pred_classes`.
        image_classes: names of the image classes, in the order of the logits.
    """

    def __init__(self, cfg: CfgNode, weights: str):
        """Build the model and load its weights.

        Args:
            cfg: the config the weights were trained with.
            weights: a .pth checkpoint.

        Raises:
            FileNotFoundError, ValueError: see `load_weights`.
        """
        self.cfg = cfg
        self._model = build_model(cfg).eval()
        load_weights(self._model, weights)
        self._resize = build_test_resize(cfg)
        mask_types = (cfg.INPUT.MASK_TYPE,) if cfg.INPUT.MASK_TYPE else ("merge", "both")
        self.lesion_classes = _class_names(
            cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            "lesion class",
            *(LESION_CLASSES[mask_type] for mask_type in mask_types),
        )
        self.image_classes = _class_names(
            cfg.MODEL.IMAGE_HEAD.NUM_CLASSES, "class", cfg.DATASETS.IMAGE_CLASSES, IMAGE_CLASSES
        )

    @torch.no_grad()
    def __call__(self, image: np.ndarray) -> dict[str, Any]:
        """Predict one slice.

        Args:
            image: (H, W, 3) uint8, RGB, as `read_slice` returns it.

        Returns:
            The model's output for the image: "instances" in its pixels and, of a CT-Mask-Net,
            "image_logits", "image_probs" and "image_class".
        """
        height, width = image.shape[:2]
        if self.cfg.INPUT.FORMAT == "BGR":
            image = image[:, :, ::-1]
        resized = self._resize.get_transform(image).apply_image(image)
        tensor = torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)))
        return self._model([{"image": tensor, "height": height, "width": width}])[0]

    def describe(self, output: dict[str, Any], min_score: float = 0.0) -> dict[str, Any]:
        """Turn a prediction into what JSON can hold.

        Args:
            output: what the call returned.
            min_score: lesions with a lower score are left out.

        Returns:
            "lesions": class, score, box (x0, y0, x1, y1 in pixels) and, with masks, area_px of
            each; of a CT-Mask-Net also "image_class", "image_probs" and "image_logits".
        """
        instances = output["instances"].to("cpu")
        result: dict[str, Any] = {
            "lesions": self._lesions(instances[instances.scores >= min_score])
        }
        if "image_logits" in output:
            result["image_class"] = self.image_classes[output["image_class"]]
            for key in ("image_probs", "image_logits"):
                values = [round(value, 6) for value in output[key].tolist()]
                result[key] = dict(zip(self.image_classes, values, strict=True))
        return result

    def _lesions(self, instances: Instances) -> list[dict[str, Any]]:
        lesions: list[dict[str, Any]] = [
            {
                "class": self.lesion_classes[cls],
                "score": round(score, 6),
                "box": [round(x, 2) for x in box],
            }
            for cls, score, box in zip(
                instances.pred_classes.tolist(),
                instances.scores.tolist(),
                instances.pred_boxes.tensor.tolist(),
                strict=True,
            )
        ]
        if instances.has("pred_masks"):
            areas = instances.pred_masks.flatten(1).sum(dim=1).tolist()
            for lesion, area in zip(lesions, areas, strict=True):
                lesion["area_px"] = area
        return lesions


def _class_names(count: int, fallback: str, *known: tuple[str, ...]) -> tuple[str, ...]:
    """The known names that fit the number of classes, or numbered ones."""
    for names in known:
        if len(names) == count:
            return tuple(names)
    return tuple(f"{fallback} {i}" for i in range(count))
