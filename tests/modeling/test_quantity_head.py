"""Logistic regression on quantities of boxes: the quantities by hand, and what it refuses."""

import math

import pytest
import torch
from tiny_models import boxes_of, tiny_cfg

from ctmasknet.modeling import LesionQuantityHead, RankedBoxesShape
from ctmasknet.modeling.image_head import build_image_head
from ctmasknet.modeling.occlusion import box_contributions
from ctmasknet.modeling.ranked_boxes import fill_ranked_boxes

SCORES = torch.tensor([0.9, 0.7, 0.5, 0.4])
# Of an image of height 100 and width 200: 1/4, 1/8, 1/8 (over half of the second) and all of it.
BOXES = [[0.0, 0, 100, 50], [100, 50, 150, 100], [125, 50, 175, 100], [0, 0, 200, 100]]
CLASSES = torch.tensor([0, 1, 1, 0])


def head(**changes):
    torch.manual_seed(0)
    settings = {"num_boxes": 8, "num_lesion_classes": 2, "min_score": 0.5, "num_classes": 3}
    return LesionQuantityHead(**settings | changes)


def ranked(count):
    rows = torch.cat([SCORES[:, None], torch.randn(4, 4)], dim=1)
    image = boxes_of(rows[:count], torch.tensor(BOXES)[:count], CLASSES[:count])
    return fill_ranked_boxes([image], 8)


def test_quantities_by_hand():
    (found,) = head().quantities(ranked(4)).tolist()
    log = math.log(9)
    classes = [math.log(2) / log, 0.25, 0.25, math.log(3) / log, 0.25, 0.125]
    # Centres (.25, .25), (.625, .75) and (.75, .75) with weights of a half and two quarters.
    mean = 0.25 / 2 + 0.625 / 4 + 0.75 / 4, 0.5
    squares = 0.25**2 / 2 + 0.625**2 / 4 + 0.75**2 / 4
    expected = [*classes, 0.25 + 3 / 16, *mean, math.sqrt(squares - mean[0] ** 2), 0.25]
    assert found == pytest.approx(expected, abs=1e-6)


def test_no_lesion_is_zeros_and_a_box_below_the_score_adds_nothing():
    assert head().quantities(ranked(0)).abs().sum() == 0
    torch.testing.assert_close(head().quantities(ranked(3)), head().quantities(ranked(4)))
    own = head()
    contributions = box_contributions(own, ranked(4)[0])
    assert contributions[3].abs().max() < 1e-6 and contributions[:3].abs().min() > 1e-4
    without = own(fill_ranked_boxes([ranked(4)[0].distinct().placed(torch.tensor([1, 2, 3]))], 8))
    torch.testing.assert_close(contributions[0], (own(ranked(4)) - without)[0])


def test_the_score_of_a_lesion_is_kept_with_the_weights():
    other = head(min_score=0.8)
    other.load_state_dict(head().state_dict())
    assert other.min_score == 0.5


@pytest.mark.parametrize(
    ("opts", "features", "message"),
    [
        ((), 0, r"TRAINABLE is 'heads\+bn', but .* set it to 'heads'"),
        (("MODEL.TRAINABLE", "heads"), 3, "reads no features: set MODEL.RANKED_BOXES.FEATURES"),
    ],
)
def test_settings_that_cannot_be(opts, features, message):
    cfg = tiny_cfg("ctmasknet", "MODEL.IMAGE_HEAD.NAME", "LesionQuantityHead", *opts)
    with pytest.raises(ValueError, match=message):
        build_image_head(cfg, RankedBoxesShape(8, 5, features))
