import pytest
import torch
from tiny_models import boxes_of

from ctmasknet.modeling.ranked_boxes import (
    encode_rows,
    fill_positions,
    fill_ranked_boxes,
    row_size,
)


@pytest.mark.parametrize(
    ("count", "num", "expected"),
    [
        (3, 5, [0, 0, 1, 1, 2]),
        (5, 5, [0, 1, 2, 3, 4]),
        (4, 5, [0, 0, 1, 2, 3]),
        (1, 3, [0, 0, 0]),
    ],
)
def test_fill_uses_every_rank_in_order(count, num, expected):
    assert fill_positions(count, num).tolist() == expected


@pytest.mark.parametrize("count", [1, 2, 7, 127, 128])
def test_repeats_are_spread_evenly(count):
    repeats = torch.bincount(fill_positions(count, 128))
    assert len(repeats) == count
    assert repeats.max() - repeats.min() <= 1


def test_random_fill_keeps_every_rank_in_order_and_repeats_by_the_seed():
    drawn = [fill_positions(3, 8, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1, 2)]
    for positions in drawn:
        assert len(positions) == 8 and set(positions.tolist()) == {0, 1, 2}
        assert torch.equal(positions, positions.sort().values)
    assert torch.equal(drawn[0], drawn[1])
    assert len({tuple(positions.tolist()) for positions in drawn}) > 1
    full = fill_positions(8, 8, torch.Generator().manual_seed(0))
    assert full.tolist() == list(range(8))


def test_boxes_are_filled_and_pass_the_sum_of_gradients():
    three = torch.tensor([[0.9, 1, 1, 1, 1], [0.5, 2, 2, 2, 2], [0.1, 3, 3, 3, 3]])
    three.requires_grad_()
    first = boxes_of(three, torch.arange(12.0).view(3, 4), torch.tensor([0, 1, 0]))
    none = boxes_of(torch.zeros(0, 5), size=(30, 40))
    ranked = fill_ranked_boxes([first, none], num=5)
    assert torch.equal(ranked.rows[0], three.detach()[[0, 0, 1, 1, 2]])
    assert ranked.classes[0].tolist() == [0, 0, 1, 1, 0]
    assert ranked.valid.tolist() == [[True, False, True, False, True], [False] * 5]
    assert ranked.counts.tolist() == [3, 0]
    assert ranked.image_sizes.tolist() == [[100, 200], [30, 40]]
    assert ranked.rows[1].abs().sum() == 0 and ranked.boxes[1].abs().sum() == 0
    ranked.rows.sum().backward()
    assert three.grad[:, 0].tolist() == [2, 2, 1]


def test_exactly_n_boxes_and_one_less():
    rows = torch.arange(20.0).view(4, 5)
    ranked = fill_ranked_boxes([boxes_of(rows), boxes_of(rows[:3])], num=4)
    assert torch.equal(ranked.rows[0], rows)
    assert torch.equal(ranked.rows[1], rows[[0, 0, 1, 2]])
    assert ranked[1].counts == 3 and torch.equal(ranked[1].rows, rows[[0, 0, 1, 2]])


@pytest.mark.parametrize("generator", [None, torch.Generator().manual_seed(5)])
def test_all_parts_of_a_box_are_filled_alike_and_given_back(generator):
    features, whole = torch.arange(6.0).view(3, 2), torch.tensor([7.0, 8])
    image = boxes_of(
        torch.arange(15.0).view(3, 5),
        torch.arange(12.0).view(3, 4),
        torch.tensor([0, 1, 2]),
        features=features,
        global_features=whole,
    )
    ranked = fill_ranked_boxes([image], 9, generator)[0]
    places = ranked.classes
    for name in ("rows", "boxes", "features"):
        assert torch.equal(getattr(ranked, name), getattr(image, name)[places])
    assert ranked.vectors.shape == (9, 7)
    assert torch.equal(places[ranked.valid], torch.arange(3))
    for name, expected in image.tensors().items():
        assert torch.equal(ranked.distinct().tensors()[name], expected)
    batch = ranked[None]
    assert torch.equal(batch.global_features, whole[None]) and batch.rows.shape == (1, 9, 5)


def test_without_boxes_an_image_is_as_one_that_has_none():
    rows, whole = torch.rand(2, 5), torch.ones(3)
    full, empty = (
        fill_ranked_boxes([boxes_of(x, features=x, global_features=whole)], 4)[0]
        for x in (rows, rows[:0])
    )
    for name, expected in empty.tensors().items():
        assert torch.equal(full.without_boxes().tensors()[name], expected)
    assert full.counts == 2


SCORES = torch.tensor([0.9, 0.4])
DELTAS = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])
BOXES = torch.tensor([[0.0, 0, 50, 100], [100, 25, 200, 50]])
CLASSES = torch.tensor([1, 0])


@pytest.mark.parametrize(
    ("encoding", "one_hot", "expected"),
    [
        ("deltas", 0, [[0.9, 1, 2, 3, 4], [0.4, 5, 6, 7, 8]]),
        ("image", 0, [[0.9, 0, 0, 0.25, 1], [0.4, 0.5, 0.25, 1, 0.5]]),
        ("deltas", 2, [[0.9, 1, 2, 3, 4, 0, 1], [0.4, 5, 6, 7, 8, 1, 0]]),
        ("image", 2, [[0.9, 0, 0, 0.25, 1, 0, 1], [0.4, 0.5, 0.25, 1, 0.5, 1, 0]]),
    ],
)
def test_rows_by_hand(encoding, one_hot, expected):
    # An image of height 100 and width 200.
    rows = encode_rows(SCORES, DELTAS, BOXES, CLASSES, (100, 200), encoding, one_hot)
    torch.testing.assert_close(rows, torch.tensor(expected))
    assert rows.shape[1] == row_size(2, one_hot > 0)


def test_no_box_gives_no_row():
    empty = encode_rows(SCORES[:0], DELTAS[:0], BOXES[:0], CLASSES[:0], (100, 200), "image", 2)
    assert empty.shape == (0, 7)
