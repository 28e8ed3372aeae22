import pytest
import torch

from ctmasknet.modeling.ranked_boxes import (
    encode_rows,
    fill_positions,
    rank_rows,
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


def test_rank_rows_fills_and_passes_the_sum_of_gradients():
    three = torch.tensor([[0.9, 1, 1, 1, 1], [0.5, 2, 2, 2, 2], [0.1, 3, 3, 3, 3]])
    three.requires_grad_()
    none = torch.zeros(0, 5)
    ranked = rank_rows(
        [three, none],
        [torch.arange(12.0).view(3, 4), torch.zeros(0, 4)],
        [torch.tensor([0, 1, 0]), torch.zeros(0, dtype=torch.int64)],
        num=5,
    )
    assert torch.equal(ranked.rows[0], three.detach()[[0, 0, 1, 1, 2]])
    assert ranked.classes[0].tolist() == [0, 0, 1, 1, 0]
    assert ranked.counts.tolist() == [3, 0]
    assert ranked.rows[1].abs().sum() == 0 and ranked.boxes[1].abs().sum() == 0
    ranked.rows.sum().backward()
    assert three.grad[:, 0].tolist() == [2, 2, 1]


def test_rank_rows_of_exactly_n_and_one_less():
    rows = torch.arange(20.0).view(4, 5)
    boxes, classes = torch.zeros(4, 4), torch.zeros(4, dtype=torch.int64)
    ranked = rank_rows([rows, rows[:3]], [boxes, boxes[:3]], [classes, classes[:3]], num=4)
    assert torch.equal(ranked.rows[0], rows)
    assert torch.equal(ranked.rows[1], rows[[0, 0, 1, 2]])
    assert ranked[1].counts == 3 and torch.equal(ranked[1].rows, rows[[0, 0, 1, 2]])


def test_random_fill_is_for_all_parts_of_a_row_alike():
    rows = torch.arange(15.0).view(3, 5)
    boxes, classes = torch.arange(12.0).view(3, 4), torch.tensor([0, 1, 2])
    ranked = rank_rows([rows], [boxes], [classes], 9, torch.Generator().manual_seed(5))
    positions = ranked.classes[0]
    assert torch.equal(ranked.rows[0], rows[positions])
    assert torch.equal(ranked.boxes[0], boxes[positions])


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
