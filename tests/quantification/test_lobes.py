"""Lobes: told from label maps, refused where they do not lie as lobes, counted and scored."""

import numpy as np
import pytest

from ctmasknet.quantification.lobes import LOBES, count_by_lobe, find_lobes, lobe_score


def label_map(left_upper=1, left_lower=2, right_upper=3, right_middle=4, right_lower=5):
    """(6, 4, 8), lowest slice first, the patient's right at the left: the lobes as blocks."""
    values = np.zeros((6, 4, 8), np.int16)
    values[3:, :, 5:7], values[:3, :, 5:7] = left_upper, left_lower
    values[3:, :, 1:3], values[:3, :2, 1:3], values[:3, 2:, 1:3] = (
        right_upper,
        right_middle,
        right_lower,
    )
    return values


@pytest.mark.parametrize("first", [1, 10])  # lungmask's and TotalSegmentator's values
def test_five_values_are_lobes_in_the_order_of_common_tools(first):
    assert LOBES == ("left upper", "left lower", "right upper", "right middle", "right lower")
    values = label_map(*range(first, first + 5))
    lobes = find_lobes(values)
    assert lobes.dtype == np.uint8
    assert (lobes == label_map()).all()


@pytest.mark.parametrize("lobes", [(1, 2, 1, 1, 1), (1, 1, 1, 1, 1), (1, 2, 3, 4, 0)])
def test_more_or_fewer_values_are_no_lobes(lobes):
    assert find_lobes(label_map(*lobes)) is None
    six = label_map()
    six[0, 0, 0] = 6
    assert find_lobes(six) is None


@pytest.mark.parametrize(
    "order",
    [(4, 5, 1, 2, 3), (2, 1, 3, 4, 5), (1, 2, 5, 4, 3), (3, 2, 1, 4, 5), (1, 2, 4, 3, 5)],
    ids=["right first", "lower first", "right lower first", "sides mixed", "middle first"],
)
def test_lobes_in_another_order_are_refused(order):
    with pytest.raises(ValueError, match="1, 2, 3, 4, 5, which do not lie as the lobes left upper"):
        find_lobes(label_map(*order))


def test_a_map_upside_down_or_mirrored_is_refused():
    for turned in (label_map()[::-1], label_map()[..., ::-1]):
        with pytest.raises(ValueError, match="do not lie as the lobes"):
            find_lobes(turned)


def test_pixels_are_counted_by_lobe_and_class():
    lobes = find_lobes(label_map())
    labels = np.zeros(lobes.shape, np.uint8)
    labels[5, 0, 4:7] = 1  # two pixels in the left upper lobe, one outside the lung
    labels[0, 3, 1] = 2
    counts = count_by_lobe(labels, lobes, 2)
    assert counts.tolist() == [[22, 2, 0], [24, 0, 0], [24, 0, 0], [12, 0, 0], [11, 0, 1]]


@pytest.mark.parametrize(
    ("share", "score"),
    [
        *((0, 0), (1e-9, 1), (0.0499, 1), (0.05, 2), (0.25, 2), (0.2501, 3), (0.4999, 3)),
        *((0.5, 4), (0.75, 4), (0.7501, 5), (1, 5)),
    ],
)
def test_scores_of_pan(share, score):
    assert lobe_score(share) == score


@pytest.mark.parametrize("share", [-0.1, 1.1, np.nan])
def test_what_is_no_share_has_no_score(share):
    with pytest.raises(ValueError, match="expected 0 to 1"):
        lobe_score(share)
