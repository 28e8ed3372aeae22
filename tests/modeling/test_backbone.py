import pytest
import torch
from detectron2.modeling import build_backbone

from ctmasknet import get_cfg

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

LEVELS = {"res3": "p3", "res4": "p4", "res5": "p5"}


def backbone_cfg(depth, stages, fpn_stages=None):
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.NAME = "build_truncated_resnet_fpn_backbone"
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.RESNETS.NORM = "BN"
    cfg.MODEL.RESNETS.DEPTH = depth
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 256 if depth == 50 else 64
    cfg.MODEL.RESNETS.OUT_FEATURES = list(stages)
    cfg.MODEL.FPN.IN_FEATURES = list(fpn_stages or stages)
    outputs = [stage.replace("res", "p") for stage in stages]
    cfg.MODEL.RPN.IN_FEATURES = outputs
    cfg.MODEL.ROI_HEADS.IN_FEATURES = outputs
    return cfg


@pytest.mark.parametrize("depth", [18, 34])
@pytest.mark.parametrize(("stage", "stride"), [("res3", 8), ("res4", 16), ("res5", 32)])
def test_single_level_has_the_stride_of_its_stage(depth, stage, stride):
    backbone = build_backbone(backbone_cfg(depth, [stage]))
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, 64, 96))
    level = LEVELS[stage]
    assert {k: tuple(v.shape) for k, v in features.items()} == {
        level: (1, 256, 64 // stride, 96 // stride)
    }
    assert backbone.output_shape()[level].stride == stride
    assert backbone.size_divisibility == 32


def test_stages_after_the_cut_are_not_built():
    backbone = build_backbone(backbone_cfg(18, ["res4"]))
    assert not any("res5" in name for name, _ in backbone.named_parameters())


def test_r50_has_four_levels_and_no_pooled_one():
    backbone = build_backbone(backbone_cfg(50, ["res2", "res3", "res4", "res5"]))
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, 64, 64))
    sizes = {k: tuple(v.shape[1:]) for k, v in features.items()}
    assert sizes == {
        "p2": (256, 16, 16),
        "p3": (256, 8, 8),
        "p4": (256, 4, 4),
        "p5": (256, 2, 2),
    }


@pytest.mark.parametrize(
    ("cfg", "valid"),
    [
        (backbone_cfg(101, ["res4"]), "18, 34, 50"),
        (backbone_cfg(18, ["res3", "res4"]), "['res3'], ['res4'], ['res5']"),
        (backbone_cfg(18, ["res4"], ["res3"]), "['res3'], ['res4'], ['res5']"),
        (backbone_cfg(50, ["res4"]), "['res2', 'res3', 'res4', 'res5']"),
    ],
)
def test_wrong_combination_names_the_valid_ones(cfg, valid):
    with pytest.raises(ValueError) as error:
        build_backbone(cfg)
    assert valid in str(error.value)


def test_levels_of_rpn_must_be_the_backbones():
    cfg = backbone_cfg(18, ["res4"])
    cfg.MODEL.RPN.IN_FEATURES = ["p5"]
    with pytest.raises(ValueError, match=r"MODEL.RPN.IN_FEATURES is \['p5'\].*\['p4'\]"):
        build_backbone(cfg)
