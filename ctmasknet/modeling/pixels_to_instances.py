"""Detections and the pixels of a semantic branch -> instances.

Shapes: network input of H x W pixels, R instances, K lesion classes.
"""

import cv2
import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances, ROIMasks
from torch.nn import functional as F

from .mask_head import MASK_CUT

COVERED = 0.5  # a detection whose pixels are found in so large a part is none of its own


class ImageMasks(ROIMasks):
    """Masks that lie in the network's input already: (R, H, W) bool, pasted by resizing."""

    def __getitem__(self, item) -> "ImageMasks":
        return ImageMasks(super().__getitem__(item).tensor)

    def to(self, *args, **kwargs) -> "ImageMasks":
        """As `ROIMasks.to`, which would forget where the masks lie."""
        return ImageMasks(self.tensor.to(*args, **kwargs))

    def to_bitmasks(
        self, boxes: Boxes, height: int, width: int, threshold: float = 0.5
    ) -> BitMasks:
        """Resize to (height, width); boxes and threshold, of `ROIMasks.to_bitmasks`, are unused."""
        masks = [
            F.interpolate(
                mask[None, None].float(), (height, width), mode="bilinear", align_corners=False
            )[0, 0]
            >= 0.5
            for mask in self.tensor
        ]
        empty = self.tensor.new_zeros((0, height, width), dtype=torch.bool)
        return BitMasks(torch.stack(masks) if masks else empty)


def join(
    detections: Instances, probs: torch.Tensor, min_area: int, threshold: float = 0.5
) -> Instances:
    """Put detections beside the components of a semantic branch.

    A pixel with a probability of any lesion above `threshold` is of the likeliest lesion class. A
    component (8-connected pixels of a class) is an instance, whose score is the mean probability
    of its pixels. A detection is another instance if less than COVERED of its pixels are lesion;
    its score is the detector's times the mean probability of its pixels.

    Args:
        detections: raw, R with `pred_boxes`, `scores`, `pred_classes` and `pred_masks`, mask
            logits (R, 1, M, M).
        probs: (K + 1, H, W), background last.
        min_area: components of at most so many pixels are left out.
        threshold: in [0, 1).

    Returns:
        Instances by falling score, with ImageMasks as `pred_masks`.
    """
    size = detections.image_size
    raw = detections.pred_masks
    pasted = raw if isinstance(raw, ROIMasks) else ROIMasks(raw[:, 0])
    masks = pasted.to_bitmasks(detections.pred_boxes, *size, MASK_CUT).tensor
    lesion = probs[-1] < 1 - threshold
    alone = _means_over(masks, lesion[None].float())[:, 0] < COVERED
    masks, others = masks[alone], detections[alone]
    parts, labels = _components(probs, lesion, min_area)
    boxes = BitMasks(parts).get_bounding_boxes().tensor.to(masks.device)
    scores = torch.cat(
        [
            _mean_of_class(parts, probs, labels),
            others.scores * _mean_of_class(masks, probs, others.pred_classes),
        ]
    )
    order = scores.argsort(descending=True, stable=True)
    return Instances(
        size,
        pred_boxes=type(others.pred_boxes)(torch.cat([boxes, others.pred_boxes.tensor])[order]),
        scores=scores[order],
        pred_classes=torch.cat([labels, others.pred_classes])[order],
        pred_masks=ImageMasks(torch.cat([parts, masks])[order]),
    )


def _components(
    probs: torch.Tensor, lesion: torch.Tensor, min_area: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return masks (n, H, W) bool and classes (n,) int64."""
    likeliest = torch.where(lesion, probs[:-1].argmax(dim=0), len(probs) - 1).cpu().numpy()
    masks: list[np.ndarray] = []
    classes = []
    for label in range(len(probs) - 1):
        pixels = (likeliest == label).astype(np.uint8)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8)
        large = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] > min_area]
        masks += [parts == i for i in large]
        classes += [label] * len(large)
    stacked = np.stack(masks) if masks else np.zeros((0, *likeliest.shape), bool)
    device = probs.device
    return torch.from_numpy(stacked).to(device), torch.tensor(classes, dtype=torch.int64).to(device)


def _mean_of_class(masks: torch.Tensor, probs: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return the mean probability (n,) of its class within each mask."""
    return _means_over(masks, probs).gather(1, classes[:, None])[:, 0]


def _means_over(masks: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return the means (n, C) of values (C, H, W) within masks (n, H, W); 0 of empty ones.

    As a product of matrices, which is several times as fast as sums over masked values.
    """
    inside = masks.flatten(1).to(values.dtype)
    return inside @ values.flatten(1).T / inside.sum(dim=1, keepdim=True).clamp(min=1)
