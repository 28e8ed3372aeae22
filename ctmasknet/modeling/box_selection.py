"""The one way from scored boxes to a ranked choice: for lesions and for the ranked tensor.

Shapes: R RoIs of one image, K lesion classes, n boxes kept.
"""

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


def select_boxes(
    scores: torch.Tensor,
    boxes: torch.Tensor,
    image_size: tuple[int, int],
    nms_thresh: float,
    num: int | None,
    score_thresh: float = -1.0,
) -> Selection:
    """Choose and rank the boxes of one image.

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

    Returns:
        The boxes kept, at most `num`.
    """
    num_classes = scores.shape[1]
    flat_boxes = clip_boxes_to_image(boxes.reshape(-1, 4), image_size)
    flat_scores = scores.reshape(-1).to(flat_boxes.dtype)  # of a half-precision network too
    has_area = (flat_boxes[:, 2:] > flat_boxes[:, :2]).all(dim=1)
    candidates = (has_area & (flat_scores > score_thresh)).nonzero()[:, 0]
    survivors = batched_nms(
        flat_boxes[candidates], flat_scores[candidates], candidates % num_classes, nms_thresh
    )
    # NMS returns survivors by score, but leaves equal scores in no promised order.
    kept = candidates[survivors.sort().values]
    kept = kept[flat_scores[kept].sort(descending=True, stable=True).indices[:num]]
    return Selection(kept // num_classes, kept % num_classes, flat_boxes[kept], flat_scores[kept])
