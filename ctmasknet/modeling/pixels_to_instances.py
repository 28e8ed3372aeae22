"""Detections and the pixels of a semantic branch -> instances.

Shapes: network input of H x W pixels, R instances, K lesion classes.
"""

import cv2
import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances, ROIMasks
from torch.nn import functional as F

from .mask_head import MASK_CUT

MATCH_IOU = 0.5  # a detection and a component of the same class that overlap so are one lesion


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


def join(detections: Instances, probs: torch.Tensor, min_area: int) -> Instances:
    """Put the components of a semantic branch beside detections.

    A pixel is lesion if background is less likely than not, of the likeliest lesion class. A
    component (8-connected pixels of a class) is an instance. A detection
    of the same class that overlaps it by MATCH_IOU or more is the same lesion and leaves its score.
    The score of an instance is the mean of two opinions: that of the detector, 0 where it has none,
    and that of the branch, the mean probability of its pixels.

    Args:
        detections: raw, R with `pred_boxes`, `scores`, `pred_classes` and `pred_masks`, mask
            logits (R, 1, M, M).
        probs: (K + 1, H, W), background last.
        min_area: components of at most so many pixels are left out.

    Returns:
        Instances by falling score, with ImageMasks as `pred_masks`.
    """
    size = detections.image_size
    raw, labels = detections.pred_masks, detections.pred_classes
    pasted = raw if isinstance(raw, ROIMasks) else ROIMasks(raw[:, 0])
    masks = pasted.to_bitmasks(detections.pred_boxes, *size, MASK_CUT).tensor
    parts, part_labels = _components(probs, min_area)
    same = labels[:, None] == part_labels
    matches = (_ious(masks, parts) >= MATCH_IOU) & same  # (R, components)
    opinions = torch.where(matches, detections.scores[:, None], 0)
    opinions = torch.cat([opinions, opinions.new_zeros(1, len(parts))]).amax(dim=0)
    alone = ~matches.any(dim=1)
    joined = torch.cat([parts, masks[alone]])
    classes = torch.cat([part_labels, labels[alone]])
    opinions = torch.cat([opinions, detections.scores[alone]])
    scores = (opinions + _mean_probs(joined, probs[classes])) / 2
    boxes = torch.cat(
        [
            BitMasks(parts).get_bounding_boxes().tensor.to(masks.device),
            detections.pred_boxes.tensor[alone],
        ]
    )
    order = scores.argsort(descending=True, stable=True)
    return Instances(
        size,
        pred_boxes=type(detections.pred_boxes)(boxes[order]),
        scores=scores[order],
        pred_classes=classes[order],
        pred_masks=ImageMasks(joined[order]),
    )


def _components(probs: torch.Tensor, min_area: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return masks (n, H, W) bool and classes (n,) int64."""
    lesion = probs[:-1].argmax(dim=0)
    likeliest = torch.where(probs[-1] < 0.5, lesion, len(probs) - 1).cpu().numpy()
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


def _ious(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(A, H, W) and (B, H, W) bool -> (A, B)."""
    first, second = (x.flatten(1).float() for x in (first, second))
    common = first @ second.T
    union = first.sum(dim=1)[:, None] + second.sum(dim=1) - common
    return common / union.clamp(min=1)


def _mean_probs(masks: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
    """(n,) means of (n, H, W) probabilities within masks; 0 of an empty mask."""
    return (probs * masks).sum(dim=(1, 2)) / masks.sum(dim=(1, 2)).clamp(min=1)
