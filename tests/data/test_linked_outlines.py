"""Which outlines of a scan are one lesion: volumes drawn by hand."""

import numpy as np
import pycocotools.mask as mask_util
import pytest

from ctmasknet.data.linked_outlines import link_outlines, shared_pixels

SIZE = (20, 40)


def outline(x0, x1, y0=0, y1=10):
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    return mask_util.encode(mask)


def lesions(*slices, numbers=None):
    """Link slices of (x0, x1) or (x0, x1, class); each outline is 10 pixels high."""
    masks = [[outline(*one[:2]) for one in part] for part in slices]
    classes = [[one[2] if len(one) > 2 else "GGO" for one in part] for part in slices]
    return [part.tolist() for part in link_outlines(masks, classes, numbers)]


A, B = (0, 10), (10, 20)  # side by side: they touch


DRAWN = {
    "a chain": ([[A], [(2, 12)], [(4, 14)]], [[0], [0], [0]]),
    "a chain that leaves its start": ([[A], [(8, 18)], [(16, 26)]], [[0], [0], [0]]),
    "a sliver is no way on": ([[(0, 20)], [(19, 39)]], [[0], [1]]),
    "a tenth of the smaller is": ([[(0, 20)], [(19, 29)]], [[0], [0]]),
    "it parts": ([[(0, 20)], [(0, 8), (12, 20)]], [[0], [0, 0]]),
    "a small part joins": ([[(0, 20), (20, 23)], [(0, 23)]], [[0, 0], [0]]),
    "two flow together": ([[(0, 8), (12, 20)], [(0, 20)]], [[0, 0], [0]]),
    "it parts and flows together": ([[(0, 20)], [(0, 8), (12, 20)], [(0, 20)]], [[0], [0, 0], [0]]),
    "touching": ([[A, B]] * 3, [[0, 1]] * 3),
    "touching, in another order": ([[A, B], [B, A]], [[0, 1], [1, 0]]),
    "touching, and they shift": ([[A, B], [(3, 13), (13, 23)]], [[0, 1], [0, 1]]),
    "the neighbour of one that ends": ([[A, B], [(0, 12)]], [[0, 1], [0]]),
    "the neighbour of one that begins": ([[(0, 12)], [A, B]], [[0], [0, 1]]),
    "beside each other on two slices": ([[A], [B]], [[0], [1]]),
    "two classes": ([[A], [(0, 10, "C")], [A]], [[0], [1], [2]]),
    "one class inside another": ([[A, (2, 8, "C")]] * 2, [[0, 1]] * 2),
    "a gap": ([[A], [], [A]], [[0], [], [1]]),
    "one slice": ([[A, B, (25, 30)]], [[0, 1, 2]]),
    "outlined twice": ([[(0, 10), (4, 14)]], [[0, 0]]),
    "overlapping by less than a half": ([[(0, 10), (6, 16)]], [[0, 1]]),
    "one inside another": ([[(0, 30), (5, 8)]], [[0, 0]]),
    "nothing": ([[], []], [[], []]),
    "no slice": ([], []),
}


@pytest.mark.parametrize(("slices", "expected"), DRAWN.values(), ids=DRAWN)
def test_lesions_drawn_by_hand(slices, expected):
    assert lesions(*slices) == expected


def test_a_slice_that_was_not_kept_ends_a_lesion():
    assert lesions([A], [A], [A], numbers=[3, 4, 6]) == [[0], [0], [1]]


def test_the_larger_share_goes_on_and_of_equal_ones_the_first():
    # 4 of 9 columns lie on the one and 5 on the other: only the other is half covered, or goes on.
    assert lesions([A, B], [(6, 15)]) == [[0, 1], [1]]
    assert lesions([A, (20, 30)], [(7, 23)]) == [[0, 1], [0]]


def test_empty_masks_are_lesions_of_their_own():
    assert lesions([(3, 3), A], [(3, 3), A]) == [[0, 1], [2, 1]]


def test_shared_pixels_are_exact():
    rng = np.random.default_rng(0)
    one, other = (rng.random((5, *SIZE)) < 0.4 for _ in range(2))
    rles = [
        [mask_util.encode(np.asfortranarray(x, np.uint8)) for x in part] for part in (one, other)
    ]
    expected = np.einsum("ahw,bhw->ab", one.astype(int), other.astype(int))
    assert np.array_equal(shared_pixels(*rles), expected)
    assert shared_pixels([], rles[1]).shape == (0, 5)


def test_hundreds_of_outlines_on_a_slice():
    """A grid of 200 lesions that touch: each stays itself."""
    cells = [outline(2 * x, 2 * x + 2, 2 * y, 2 * y + 2) for y in range(10) for x in range(20)]
    found = link_outlines([cells] * 20, [["GGO"] * 200] * 20)
    assert all(np.array_equal(part, np.arange(200)) for part in found)
