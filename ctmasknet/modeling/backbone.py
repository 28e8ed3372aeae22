"""ResNets cut after the stage that feeds the FPN."""

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone, build_resnet_backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool

from .profiling import profiled

FOUR_LEVELS = ("res2", "res3", "res4", "res5")
SINGLE_LEVELS = (("res3",), ("res4",), ("res5",))
# Not of the papers: T1 with finer levels for a semantic branch (semantic_rcnn.py).
FINE_LEVELS = ("res2", "res3", "res4")
POOLED_LEVEL = "p6"  # of the RPN of R50, in the author's models before November 2020
# Depth -> FPN inputs: those of the papers' models (T2, T1 and full; four levels for R50), and
# FINE_LEVELS.
VALID_LEVELS = {
    18: (*SINGLE_LEVELS, FINE_LEVELS),
    34: (*SINGLE_LEVELS, FINE_LEVELS),
    50: (FOUR_LEVELS,),
}


class TruncatedResNetFPN(FPN):
    """FPN whose input is padded to a multiple of 32.

    32 whatever the last stage: the papers pad all models alike, and a model cut after res4 would
    otherwise see another border than the full one.
    """

    @property
    def size_divisibility(self) -> int:
        return 32

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """As FPN: level name -> (B, channels, height, width)."""
        with profiled("backbone"):
            return super().forward(x)


def _check_levels(cfg: CfgNode) -> None:
    depth = cfg.MODEL.RESNETS.DEPTH
    if depth not in VALID_LEVELS:
        raise ValueError(
            f"MODEL.RESNETS.DEPTH is {depth}; build_truncated_resnet_fpn_backbone has "
            f"{', '.join(map(str, VALID_LEVELS))}"
        )
    out_features = tuple(cfg.MODEL.RESNETS.OUT_FEATURES)
    fpn_inputs = tuple(cfg.MODEL.FPN.IN_FEATURES)
    valid = VALID_LEVELS[depth]
    if out_features not in valid or fpn_inputs != out_features:
        raise ValueError(
            f"MODEL.RESNETS.OUT_FEATURES is {list(out_features)} and MODEL.FPN.IN_FEATURES is "
            f"{list(fpn_inputs)}; for ResNet-{depth} both must be one of "
            f"{', '.join(str(list(levels)) for levels in valid)}"
        )
    outputs = [level.replace("res", "p") for level in fpn_inputs]
    if _has_pooled_level(cfg) and depth == 50:
        outputs.append(POOLED_LEVEL)
    for key, levels in (("RPN", outputs), ("ROI_HEADS", outputs[: len(fpn_inputs)])):
        found = list(cfg.MODEL[key].IN_FEATURES)
        some = found and found == [level for level in levels if level in found]
        if found != levels and not (some and fpn_inputs == FINE_LEVELS):
            raise ValueError(
                f"MODEL.{key}.IN_FEATURES is {found}; this backbone's levels are {levels}"
            )


def _has_pooled_level(cfg: CfgNode) -> bool:
    return POOLED_LEVEL in cfg.MODEL.RPN.IN_FEATURES


@BACKBONE_REGISTRY.register()
def build_truncated_resnet_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> Backbone:
    """Build ResNet-18 or 34 with one FPN level on its last kept stage, or ResNet-50 with four.

    ResNet-18 and 34 may have the three levels p2, p3 and p4, too, of which RPN and RoI heads take
    some or all. The stages after the last of `MODEL.RESNETS.OUT_FEATURES` are not built. A pooled
    level p6 is made of p5 when MODEL.RPN.IN_FEATURES asks for it. Source: "Lightweight Model For
    The Prediction of COVID-19", section on truncated backbones.

    Args:
        cfg: reads MODEL.RESNETS, MODEL.FPN and, to check them, the IN_FEATURES of RPN and
            ROI_HEADS.
        input_shape: channels of the input image.

    Returns:
        The backbone; a level named p4 has stride 16.

    Raises:
        ValueError: the keys combine to none of the papers' backbones; names those that are valid.
    """
    _check_levels(cfg)
    return TruncatedResNetFPN(
        bottom_up=build_resnet_backbone(cfg, input_shape),
        in_features=list(cfg.MODEL.FPN.IN_FEATURES),
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool() if _has_pooled_level(cfg) else None,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
