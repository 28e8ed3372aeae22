"""Gradients of the ranked boxes alone.

RoIAlign's backward is the most expensive step of training CT-Mask-Net on a CPU. Rows that are not
kept have no gradient, so all proposals are scored without it, and those kept once more with it.
"""

import torch
from detectron2.structures import Instances

from ..modeling import LesionRCNN, RankedROIHeads
from ..modeling.box_predictor import Predictions
from ..modeling.profiling import profiled
from ..modeling.ranked_boxes import RankedBoxes
from .rebind import rebind


def kept_rois(model: LesionRCNN) -> None:
    """Let `RankedROIHeads.rank` keep a gradient of the N ranked boxes instead of all proposals."""
    if isinstance(model.roi_heads, RankedROIHeads):
        rebind(model.roi_heads, "rank", _rank, RankedROIHeads)


def _rank(
    heads: RankedROIHeads,
    features: dict[str, torch.Tensor],
    proposals: list[Instances],
    training: bool = False,
) -> tuple[RankedBoxes, Predictions]:
    parameters = [*heads.box_head.parameters(), *heads.box_predictor.parameters()]
    learns = any(x.requires_grad for x in (*features.values(), *parameters))
    if not (training and learns and torch.is_grad_enabled()):
        return type(heads).rank(heads, features, proposals, training)
    with profiled("boxes"):
        with torch.no_grad():
            predictions, _ = heads.score(features, proposals)
            picks = heads.choose(predictions, proposals)
        torch.clear_autocast_cache()  # of weights that were cast without gradient
        kept = [p[pick.roi] for p, pick in zip(proposals, picks, strict=True)]
        picks = [x._replace(roi=torch.arange(len(x.roi), device=x.roi.device)) for x in picks]
        return heads.gather(*heads.score(features, kept), kept, picks, training), predictions
