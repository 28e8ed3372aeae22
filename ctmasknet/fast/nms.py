"""Non-maximum suppression that begins with the best boxes."""

import torch

from ..modeling import LesionRCNN, LesionRPN
from ..modeling.box_predictor import LesionBoxPredictor
from ..modeling.box_selection import nms_by_image


def best_first_nms(model: LesionRCNN) -> None:
    """Let the RPN and the box predictor look at few boxes first."""
    for owner in model.modules():
        if isinstance(owner, LesionRPN | LesionBoxPredictor):
            owner.nms = nms_best_first


def nms_best_first(
    boxes: list[torch.Tensor],
    scores: list[torch.Tensor],
    groups: list[torch.Tensor],
    thresh: float,
    num: int | None = None,
) -> list[torch.Tensor]:
    """As `nms_by_image`, for `num` of many boxes.

    A box falls to better ones alone, so the first `num` survivors are found among the first boxes,
    and the time of NMS grows with their square: begin with few.
    """
    return [_one(*image, thresh, num) for image in zip(boxes, scores, groups, strict=True)]


def _one(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    groups: torch.Tensor,
    thresh: float,
    num: int | None,
) -> torch.Tensor:
    count = len(boxes)
    tried = count if num is None else min(count, 2 * num)
    order = scores.sort(descending=True, stable=True).indices
    while True:
        first = order[:tried]
        (kept,) = nms_by_image([boxes[first]], [scores[first]], [groups[first]], thresh, num)
        if tried == count or num is not None and len(kept) >= num:
            return first[kept]
        tried = min(count, 2 * tried)
