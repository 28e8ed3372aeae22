import pytest
import torch

from ctmasknet.modeling.ranked_boxes import (
    fill_positions,
    rank_rows,
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
