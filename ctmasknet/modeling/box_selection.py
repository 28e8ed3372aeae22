"""The one way from scored boxes to a ranked choice: for lesions and for the ranked tensor.

Shapes: B images, R RoIs of one image, K lesion classes, n boxes kept.
"""

from collections.abc import Callable, Sequence
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


def nms_by_image(
    boxes: list[torch.Tensor],
    scores: list[torch.Tensor],
    groups: list[torch.Tensor],
    thresh: float,
    num: int | None = None,
) -> list[torch.Tensor]:
    """Drop, in each image, boxes that overlap a better one of their group.

    Args:
        boxes: B tensors (n, 4), x0 y0 x1 y1 in pixels.
        scores: B tensors (n,).
        groups: B tensors (n,) int64 >= 0, such as lesion classes or FPN levels.
        thresh: IoU above which the lower-scored box goes.
        num: the most boxes to keep of an image; None keeps all.

    Returns:
        B tensors of int64 indices, best first; equal scores keep the order of boxes.
    """
    kept = []
    for own, score, group in zip(boxes, scores, groups, strict=True):
        order = score.sort(descending=True, stable=True).indices
        # torchvision leaves the order of ties open; ranks have none.
        ranks = torch.arange(len(order), 0, -1, dtype=own.dtype, device=own.device)
        kept.append(order[batched_nms(own[order], ranks, group[order], thresh)[:num]])
    return kept


def select_boxes(
    scores: Sequence[torch.Tensor],
    boxes: Sequence[torch.Tensor],
    image_sizes: Sequence[tuple[int, int]],
    nms_thresh: float,
    num: int | None,
    score_thresh: float = -1.0,
    nms: Callable[..., list[torch.Tensor]] = nms_by_image,
) -> list[Selection]:
    """Choose and rank the boxes of each image of a batch.

    Every RoI gives one candidate for each class: decoded boxes are clipped to the image, those
    without area or with a low score dropped, the others thinned by NMS within their class and
    sorted by score; equal scores keep the order of RoIs, then of classes. Source: Ter-Sarkisov
    2020; lesions and ranked boxes differ in the thresholds alone.

    Args:
        scores: B tensors (R, K) in [0, 1], without the background's column.
        boxes: B tensors (R, K, 4) of decoded boxes, x0 y0 x1 y1 in input pixels.
        image_sizes: B times (height, width) of the image in the batch.
        nms_thresh: IoU above which the lower-scored box goes.
        num: the most boxes to keep; None keeps all.
        score_thresh: scores must be above it; the default keeps all.
        nms: called as `nms_by_image`.

    Returns:
        The boxes kept of each image, at most `num`.
    """
    num_classes = scores[0].shape[1]
    flat_boxes = [
        clip_boxes_to_image(own.reshape(-1, 4), size)
        for own, size in zip(boxes, image_sizes, strict=True)
    ]
    # A half-precision network's scores too are compared in the boxes' precision.
    flat_scores = [
        own.reshape(-1).to(box.dtype) for own, box in zip(scores, flat_boxes, strict=True)
    ]
    candidates = [
        ((box[:, 2:] > box[:, :2]).all(dim=1) & (score > score_thresh)).nonzero()[:, 0]
        for box, score in zip(flat_boxes, flat_scores, strict=True)
    ]
    survivors = nms(
        [box[mine] for box, mine in zip(flat_boxes, candidates, strict=True)],
        [score[mine] for score, mine in zip(flat_scores, candidates, strict=True)],
        [mine % num_classes for mine in candidates],
        nms_thresh,
        num,
    )
    selections = []
    for box, score, mine, kept in zip(flat_boxes, flat_scores, candidates, survivors, strict=True):
        chosen = mine[kept]
        selections.append(
            Selection(chosen // num_classes, chosen % num_classes, box[chosen], score[chosen])
        )
    return selections
