import pytest
import torch

from ctmasknet import get_cfg
from ctmasknet.modeling.anchor_recall import best_anchor_ious


def cfg_with(*sizes):
    cfg = get_cfg()
    cfg.MODEL.RPN.IN_FEATURES = ["p4"]
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [list(sizes)]
    cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = [[1.0]]
    cfg.MODEL.ANCHOR_GENERATOR.OFFSET = 0.5
    return cfg


def test_best_ious_by_hand():
    # Anchors of 16 px fill the cells of stride 16.
    boxes = torch.tensor([[16.0, 32, 32, 48], [16, 32, 48, 64], [24, 32, 40, 48]])
    images = [((64, 64), boxes), ((64, 64), boxes[:0]), ((32, 96), boxes[:1] * 0.5)]
    expected = [1, 0.25, 1 / 3, 8 * 8 / 256]
    assert best_anchor_ious(cfg_with(16), images).tolist() == pytest.approx(expected)
    expected[1] = 1
    found = best_anchor_ious(cfg_with(16, 32), [((64, 64), boxes + 0)])
    assert found[0] == 1 and found[1] >= 0.25


def test_no_image_no_lesion():
    assert best_anchor_ious(cfg_with(16), []).shape == (0,)
