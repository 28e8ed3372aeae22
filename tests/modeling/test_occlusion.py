"""What each ranked box adds to the class logits."""

import pytest
import torch
from tiny_models import boxes_of
from torch import nn

from ctmasknet.modeling.image_head import RankedBoxHead
from ctmasknet.modeling.occlusion import box_contributions
from ctmasknet.modeling.ranked_boxes import RankedBoxesShape, fill_ranked_boxes


def ranked_of(rows, num):
    return fill_ranked_boxes([boxes_of(rows)], num)[0]


def head(num, seed=0, fc_dim=16):
    torch.manual_seed(seed)
    shape = RankedBoxesShape(num)
    return RankedBoxHead(input_shape=shape, fc_dim=fc_dim, num_classes=3).double()


def logits(head, rows):
    """A head's, of rows (N, D) alone, without the first axis."""
    return head(boxes_of(rows)[None])[0]


class SumOfScores(nn.Module):
    """Class 0 adds the scores up, class 1 takes the first row's."""

    def forward(self, ranked):
        return torch.stack([ranked.scores.sum(1), ranked.scores[:, 0]], dim=1)


def test_by_hand():
    # Scores 0.8, 0.6, 0.4 fill four places as 0.8 0.8 0.6 0.4: sum 2.6.
    rows = torch.tensor([[0.8, 0, 0, 0, 0], [0.6, 0, 0, 0, 0], [0.4, 0, 0, 0, 0]])
    contributions = box_contributions(SumOfScores(), ranked_of(rows, 4))
    # Without the first 0.6 0.6 0.6 0.4 = 2.2, without the second 0.8 0.8 0.4 0.4 = 2.4, without
    # the third 0.8 0.8 0.6 0.6 = 2.8; the first row is 0.6, 0.8, 0.8.
    expected = torch.tensor([[0.4, 0.2], [0.2, 0.0], [-0.2, 0.0]])
    torch.testing.assert_close(contributions, expected)


@pytest.mark.parametrize("count", [2, 5, 8])
def test_the_neighbour_stands_in_and_the_ranking_holds(count):
    rows = torch.rand(count, 5, generator=torch.Generator().manual_seed(count)).double()
    rows = rows[rows[:, 0].argsort(descending=True)]
    s = head(8)
    ranked = ranked_of(rows, 8)
    contributions = box_contributions(s, ranked)
    for i in range(count):
        without = ranked.rows.clone()
        without[(ranked.rows == rows[i]).all(dim=1)] = rows[i + 1 if i + 1 < count else i - 1]
        assert (without[:, 0].diff() <= 0).all()
        torch.testing.assert_close(contributions[i], logits(s, ranked.rows) - logits(s, without))


def test_a_box_that_the_head_does_not_read_contributes_nothing():
    rows = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)).double()
    s = head(6)
    with torch.no_grad():
        s.fc1.weight.view(-1, 6, 5)[:, 3] = 0
    contributions = box_contributions(s, ranked_of(rows, 6))
    assert contributions[3].abs().max() < 1e-12
    assert contributions[[0, 1, 2, 4, 5]].abs().min() > 1e-6


def test_the_only_box_and_no_box():
    s = head(4)
    row = torch.rand(1, 5).double()
    alone = box_contributions(s, ranked_of(row, 4))
    expected = logits(s, row.expand(4, 5)) - logits(s, torch.zeros(4, 5).double())
    torch.testing.assert_close(alone[0], expected)
    assert box_contributions(s, ranked_of(torch.zeros(0, 5).double(), 4)).shape == (0, 3)


def test_a_randomised_head_gives_other_explanations():
    """A sanity check (Adebayo et al. 2018): an explanation must hang on the weights it explains."""
    rows = torch.rand(64, 5, generator=torch.Generator().manual_seed(0)).double()
    rows = rows[rows[:, 0].argsort(descending=True)]
    ranked = ranked_of(rows, 64)
    explained = box_contributions(head(64, fc_dim=64), ranked)
    torch.testing.assert_close(box_contributions(head(64, fc_dim=64), ranked), explained)
    alike = []
    for seed in range(1, 41):
        randomised = box_contributions(head(64, seed, fc_dim=64), ranked)
        both = torch.stack([explained.flatten(), randomised.flatten()])
        alike.append(float(both.corrcoef()[0, 1]))
    assert abs(sum(alike) / len(alike)) < 0.1 and max(map(abs, alike)) < 0.5


def test_nothing_has_a_gradient():
    assert not box_contributions(head(4), ranked_of(torch.rand(2, 5).double(), 4)).requires_grad
