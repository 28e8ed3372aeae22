"""From the scored boxes of an image to its ranked tensor.

Shapes: B images, R RoIs of one image, K lesion classes, n boxes kept, N ranked boxes.
A row is (score, dx, dy, dw, dh): the RoI's score for one lesion class and that class's raw
regression output, neither decoded nor divided by the box weights.
"""

from dataclasses import dataclass

import torch
from detectron2.layers import batched_nms
from detectron2.structures import Boxes


@dataclass
class RankedBoxes:
    """The ranked boxes of a batch, best first.

    Attributes:
        rows: (B, N, 5) float, the ranked tensor that the image head reads.
        boxes: (B, N, 4) float, the decoded and clipped boxes, x0 y0 x1 y1 in input pixels.
        classes: (B, N) int64, lesion classes in [0, K).
        counts: (B,) int64, number of different boxes. A row beyond them repeats a neighbour; with
            a count of 0 all rows and boxes are zeros.
    """

    rows: torch.Tensor
    boxes: torch.Tensor
    classes: torch.Tensor
    counts: torch.Tensor


def select_boxes(
    scores: torch.Tensor,
    boxes: torch.Tensor,
    image_size: tuple[int, int],
    nms_thresh: float,
    num: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Choose and rank the boxes of one image, whatever their scores.

    Every RoI gives one candidate for each class: decoded boxes are clipped to the image, those
    without area dropped, the others thinned by NMS within their class and sorted by score; equal
    scores keep the order of RoIs, then of classes. Source: Ter-Sarkisov 2020, CT-Mask-Net's RoI
    module.

    Args:
        scores: (R, K) in [0, 1], without the background's column.
        boxes: (R, K, 4) decoded boxes, x0 y0 x1 y1 in input pixels.
        image_size: (height, width) of the image in the batch.
        nms_thresh: IoU above which the lower-scored box goes.
        num: N, the most boxes to keep.

    Returns:
        (roi, class, box): (n,), (n,) and (n, 4) of the n <= N boxes kept, best first.
    """
    num_classes = scores.shape[1]
    clipped = Boxes(boxes.reshape(-1, 4).clone())
    clipped.clip(image_size)
    candidates = clipped.nonempty().nonzero()[:, 0]
    candidate_boxes = clipped.tensor[candidates]
    candidate_scores = scores.reshape(-1)[candidates]
    classes = candidates % num_classes
    # NMS returns survivors by score, but leaves equal scores in no promised order.
    survivors = batched_nms(candidate_boxes, candidate_scores, classes, nms_thresh).sort().values
    order = candidate_scores[survivors].sort(descending=True, stable=True).indices[:num]
    kept = survivors[order]
    return candidates[kept] // num_classes, classes[kept], candidate_boxes[kept]


def fill_positions(count: int, num: int, device: torch.device | None = None) -> torch.Tensor:
    """Spread `count` ranks evenly over `num` places, in order.

    Copies stand next to their original and every rank is used, so [3, 1, 2] fills five places as
    [3, 3, 1, 1, 2]. The papers draw the repeated positions at random; this is deterministic.

    Args:
        count: n, with 1 <= n <= N.
        num: N.
        device: where to put the result.

    Returns:
        (N,) int64, non-decreasing, onto [0, n).
    """
    return torch.arange(num, device=device) * count // num


def rank_rows(
    rows: list[torch.Tensor],
    boxes: list[torch.Tensor],
    classes: list[torch.Tensor],
    num: int,
) -> RankedBoxes:
    """Fill each image's kept boxes to N and stack the batch.

    Args:
        rows: B tensors (n, 5), best first; gradients flow through them.
        boxes: B tensors (n, 4).
        classes: B tensors (n,).
        num: N.

    Returns:
        The ranked boxes. An image with no box at all gets rows, boxes and classes of zeros.
    """

    def fill(values: torch.Tensor) -> torch.Tensor:
        if len(values) == 0:
            return values.new_zeros((num, *values.shape[1:]))
        return values[fill_positions(len(values), num, values.device)]

    return RankedBoxes(
        rows=torch.stack([fill(x) for x in rows]),
        boxes=torch.stack([fill(x) for x in boxes]),
        classes=torch.stack([fill(x) for x in classes]),
        counts=torch.tensor([len(x) for x in rows], device=rows[0].device),
    )
