import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_anchor_generator
from tiny_models import tiny_cfg

PAPERS = {
    "MODEL.ANCHOR_GENERATOR.NAME": "RoundedAnchorGenerator",
    "MODEL.ANCHOR_GENERATOR.OFFSET": 0.0,
}


def generator(**changed):
    opts = {**PAPERS, **{f"MODEL.ANCHOR_GENERATOR.{k}": v for k, v in changed.items()}}
    cfg = tiny_cfg("lesion", *[x for item in opts.items() for x in item])
    return build_anchor_generator(cfg, [ShapeSpec(channels=1, stride=16)])


def test_anchors_are_rounded_by_hand_and_ratio_major():
    # Ratio 0.25: height 4 * 0.5 = 2, width 4 / 0.5 = 8. Ratio 1: halves of 5 are 2.5, rounded to 2.
    cells = generator(SIZES=[[4, 5]], ASPECT_RATIOS=[[0.25, 1.0]]).cell_anchors
    (found,) = cells.buffers()
    assert found.tolist() == [
        [-4, -1, 4, 1],
        [-5, -1, 5, 1],  # 5 * 0.5 / 2 = 1.25
        [-2, -2, 2, 2],
        [-2, -2, 2, 2],  # 2.5 to the even number
    ]


def test_the_papers_anchors_have_two_without_area_and_26_different_ones():
    (anchors,) = generator().cell_anchors.buffers()
    area = (anchors[:, 2] - anchors[:, 0]) * (anchors[:, 3] - anchors[:, 1])
    assert len(anchors) == 30
    # Size 2 with ratios 0.1 and 0.25: half heights of 0.32 and 0.5.
    assert (area == 0).nonzero()[:, 0].tolist() == [0, 5]
    assert len({tuple(a) for a in anchors.tolist()}) == 26


def test_anchors_lie_about_the_corners_of_their_cells():
    (boxes,) = generator(SIZES=[[4]], ASPECT_RATIOS=[[1.0]])([torch.zeros(1, 1, 2, 2)])
    assert boxes.tensor.tolist() == [
        [-2, -2, 2, 2],
        [14, -2, 18, 2],
        [-2, 14, 2, 18],
        [14, 14, 18, 18],
    ]


@pytest.mark.parametrize("name", ["DefaultAnchorGenerator", "RoundedAnchorGenerator"])
def test_both_generators_have_as_many_anchors(name):
    assert generator(NAME=name).num_anchors == [30]
