"""Image heads that read boxes as a set: what they read, what they explain, what they refuse."""

from dataclasses import replace

import pytest
import torch
from tiny_models import boxes_of

from ctmasknet.modeling import AttentionBoxHead, PooledBoxHead, RankedBoxesShape, SetBoxHead
from ctmasknet.modeling.image_head import RankedBoxHead
from ctmasknet.modeling.occlusion import box_contributions, share_of_boxes
from ctmasknet.modeling.pooling import GatedAttention, masked_max, masked_mean
from ctmasknet.modeling.ranked_boxes import fill_ranked_boxes

HEADS = [PooledBoxHead, AttentionBoxHead, SetBoxHead]
ALL = [RankedBoxHead, *HEADS]
FEATURES, WHOLE = 6, 4


def build(kind, num=8, seed=0, **more):
    torch.manual_seed(seed)
    shape = RankedBoxesShape(num, 5, FEATURES, WHOLE if more.pop("whole", True) else 0)
    return kind(input_shape=shape, fc_dim=16, num_classes=3, **more).double()


def image(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows, features = (torch.rand(count, n, generator=generator).double() for n in (5, FEATURES))
    whole = torch.rand(WHOLE, generator=generator).double()
    return boxes_of(rows, features=features, global_features=whole)


def filled(boxes, num=8):
    return fill_ranked_boxes([boxes], num)


def test_pooling_by_hand():
    x = torch.tensor([[[1.0, -4], [3, -2], [9, 9]], [[7, 7], [7, 7], [7, 7]]])
    valid = torch.tensor([[True, True, False], [False] * 3])
    assert masked_mean(x, valid).tolist() == [[2, -3], [0, 0]]
    assert masked_max(x, valid).tolist() == [[3, -2], [0, 0]]


def test_gated_attention_is_the_papers_equation():
    torch.manual_seed(0)
    pool, x = GatedAttention(3, 2), torch.randn(1, 4, 3)
    valid = torch.tensor([[True, True, False, True]])
    raw = []
    for own in x[0, valid[0]]:
        hidden = (pool.content.weight @ own + pool.content.bias).tanh()
        hidden = hidden * (pool.gate.weight @ own + pool.gate.bias).sigmoid()
        raw.append((pool.score.weight[0] @ hidden + pool.score.bias[0]).exp())
    expected = torch.stack(raw) / sum(raw)
    weights = pool.weights(x, valid)
    torch.testing.assert_close(weights[valid], expected)
    assert weights[0, 2] == 0
    torch.testing.assert_close(pool(x, valid)[0], expected @ x[0, valid[0]])


@pytest.mark.parametrize("kind", HEADS)
def test_each_box_is_read_once_in_any_order(kind):
    head, boxes = build(kind), image(3)
    expected = head(filled(boxes, 3))
    torch.testing.assert_close(head(filled(boxes, 8)), expected)
    shuffled = boxes.placed(torch.tensor([2, 0, 1]))
    torch.testing.assert_close(head(filled(shuffled)), expected)
    together = head(fill_ranked_boxes([image(5, 1), boxes, image(0, 2)], 8))
    torch.testing.assert_close(together[1], expected[0])


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("count", [0, 1, 8])
def test_any_number_of_boxes_gives_logits_and_gradients(kind, count):
    head = build(kind)
    logits = head(filled(image(count)))
    assert logits.shape == (1, 3)
    head.losses(logits, torch.tensor([1]))["loss_image"].backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("kind", HEADS)
def test_a_box_taken_out_is_the_set_without_it(kind):
    head, boxes = build(kind), image(4)
    contributions = box_contributions(head, filled(boxes)[0])
    for i in range(4):
        others = torch.tensor([k for k in range(4) if k != i])
        difference = head(filled(boxes)) - head(filled(boxes.placed(others)))
        torch.testing.assert_close(contributions[i], difference[0])
    (alone,) = box_contributions(head, filled(image(1))[0])
    torch.testing.assert_close(alone, (head(filled(image(1))) - head(filled(nothing_of(1))))[0])


def nothing_of(count):
    boxes = image(count)
    return boxes.placed(torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize("kind", ALL)
def test_a_randomised_head_gives_other_explanations(kind):
    """A sanity check (Adebayo et al. 2018): an explanation must hang on the weights it explains."""
    ranked = filled(image(32), 32)[0]
    explained = box_contributions(build(kind, 32), ranked)
    torch.testing.assert_close(box_contributions(build(kind, 32), ranked), explained)
    assert explained.abs().max() > 1e-6
    alike = []
    for seed in range(1, 21):
        randomised = box_contributions(build(kind, 32, seed), ranked)
        both = torch.stack([explained.flatten(), randomised.flatten()])
        alike.append(float(both.corrcoef()[0, 1]))
    assert abs(sum(alike) / len(alike)) < 0.25 and min(map(abs, alike)) < 0.1


def test_attention_of_boxes_adds_up_and_leaves_repeats_out():
    ranked = fill_ranked_boxes([image(3), image(0)], 8)
    weights = build(AttentionBoxHead).attention(ranked)
    torch.testing.assert_close(weights.sum(dim=1), torch.tensor([1.0, 0]).double())
    assert (weights[~ranked.valid] == 0).all() and (weights[ranked.valid] > 0).all()


@pytest.mark.parametrize("kind", ALL)
def test_the_share_that_boxes_explain(kind):
    ranked = filled(image(3))[0]
    head = build(kind)
    share = share_of_boxes(head, ranked)
    assert ((share > 0) & (share < 1)).all()
    with_all, none = head(ranked[None])[0], head(ranked.without_boxes()[None])[0]
    blank = replace(ranked, global_features=torch.zeros(WHOLE).double())
    parts = (with_all - none).abs(), (with_all - head(blank[None])[0]).abs()
    torch.testing.assert_close(share, parts[0] / (parts[0] + parts[1]))
    boxes_alone = replace(ranked, global_features=None)
    assert share_of_boxes(build(kind, whole=False), boxes_alone).tolist() == [1, 1, 1]
    neither = replace(blank, valid=torch.zeros(8, dtype=torch.bool)).without_boxes()
    assert share_of_boxes(head, neither).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (SetBoxHead, {"fc_dim": 10}, "FC_DIM is 10; SetBoxHead has 4 .* multiple of 4"),
        (SetBoxHead, {"num_blocks": 0}, "NUM_BLOCKS is 0; expected 1 or more"),
        (PooledBoxHead, {"loss": "focal"}, "'focal'; valid are binary_cross_entropy"),
    ],
)
def test_settings_that_cannot_be(kind, changes, message):
    settings = {"input_shape": RankedBoxesShape(8), "fc_dim": 16, "num_classes": 3} | changes
    with pytest.raises(ValueError, match=message):
        kind(**settings)
