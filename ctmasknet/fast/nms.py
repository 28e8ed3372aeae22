"""Non-maximum suppression that begins with the best boxes."""

import torch

from ..modeling import LesionRCNN, LesionRPN
from ..modeling.box_predictor import LesionBoxPredictor
from ..modeling.box_selection import nms


def best_first_nms(model: LesionRCNN) -> None:
    """Let the RPN and the box predictor look at few boxes first."""
    for owner in model.modules():
        if isinstance(owner, LesionRPN | LesionBoxPredictor) and owner.nms is nms:
            owner.nms = nms_best_first


def nms_best_first(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    groups: torch.Tensor,
    thresh: float,
    num: int | None = None,
) -> torch.Tensor:
    """As `nms`, for the best `num` of many boxes.

    A box falls to better ones alone, so the first `num` survivors are found among the first boxes,
    and the time of NMS grows with their square: begin with few.
    """
    count = len(boxes)
    tried = count if num is None else min(count, 2 * num)
    order = scores.sort(descending=True, stable=True).indices
    while True:
        first = order[:tried]
        kept = nms(boxes[first], scores[first], groups[first], thresh, num)
        if tried == count or num is not None and len(kept) >= num:
            return first[kept]
        tried = min(count, 2 * tried)
