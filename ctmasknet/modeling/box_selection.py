"""The one way from scored boxes to a ranked choice: for lesions and for the ranked tensor.

Shapes: R RoIs of one image, K lesion classes, n boxes kept.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torchvision.ops import batched_nms, clip_boxes_to_image


class Selection(NamedTuple):
    """Boxes of one image, best first.

    Attributes:
        roi: (n,) int64, which RoI each comes from.
        lesion_class: (n,) int64 in [0, K).
        box: (n, 4) float, x0 y0 x1 y1 in input pixels, clipped to the image.
        score: (n,) float.
    """

    roi: torch.Tensor
    lesion_class: torch.Tensor
    box: torch.Tensor
    score: torch.Tensor


def nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    groups: torch.Tensor,
    thresh: float,
    num: int | None = None,
) -> torch.Tensor:
    """Drop boxes that overlap a better one of their group.

    Args:
        boxes: (n, 4), x0 y0 x1 y1 in pixels.
        scores: (n,).
        groups: (n,) int64 >= 0, such as lesion classes or FPN levels.
        thresh: IoU above which the lower-scored box goes.
        num: the most boxes to keep; None keeps all.

    Returns:
        int64 indices, best first; equal scores keep the order of boxes.
    """
    order = scores.sort(descending=True, stable=True).indices
    # torchvision leaves the order of ties open; ranks have none.
    ranks = torch.arange(len(order), 0, -1, dtype=boxes.dtype, device=boxes.device)
    return order[batched_nms(boxes[order], ranks, groups[order], thresh)[:num]]


def select_boxes(
    scores: torch.Tensor,
    boxes: torch.Tensor,
    image_size: tuple[int, int],
    nms_thresh: float,
    num: int | None,
    score_thresh: float = -1.0,
    nms: Callable[..., torch.Tensor] = nms,
) -> Selection:
    """Choose and rank the boxes of an image.

    Every RoI gives one candidate for each class: decoded boxes are clipped to the image, those
    without area or with a low score dropped, the others thinned by NMS within their class and
    sorted by score; equal scores keep the order of RoIs, then of classes. Source: Ter-Sarkisov
    2020; lesions and ranked boxes differ in the thresholds alone.

    Args:
        scores: (R, K) in [0, 1], without the background's column.
        boxes: (R, K, 4) decoded boxes, x0 y0 x1 y1 in input pixels.
        image_size: (height, width) of the image in the batch.
        nms_thresh: IoU above which the lower-scored box goes.
        num: the most boxes to keep; None keeps all.
        score_thresh: scores must be above it; the default keeps all.
        nms: called as the function of this module.
    """
    num_classes = scores.shape[1]
    flat_boxes = clip_boxes_to_image(boxes.reshape(-1, 4), image_size)
    # A half-precision network's scores too are compared in the boxes' precision.
    flat_scores = scores.reshape(-1).to(boxes.dtype)
    has_area = (flat_boxes[:, 2:] > flat_boxes[:, :2]).all(dim=1)
    candidates = (has_area & (flat_scores > score_thresh)).nonzero()[:, 0]
    kept = candidates[
        nms(
            flat_boxes[candidates],
            flat_scores[candidates],
            candidates % num_classes,
            nms_thresh,
            num,
        )
    ]
    return Selection(kept // num_classes, kept % num_classes, flat_boxes[kept], flat_scores[kept])
