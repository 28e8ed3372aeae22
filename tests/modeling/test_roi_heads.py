import pytest
import torch
from detectron2.modeling import StandardROIHeads
from detectron2.structures import Boxes, Instances
from tiny_models import tiny_model


def proposals_at(boxes, size=(64, 64)):
    instances = Instances(size)
    instances.proposal_boxes = Boxes(torch.tensor(boxes, dtype=torch.float))
    return instances


def roi_heads(*opts):
    heads = tiny_model("ctmasknet", *opts).roi_heads
    heads.requires_grad_(True)
    return heads.eval()


@pytest.fixture
def heads():
    return roi_heads()


BOXES = [[0, 0, 30, 30], [32, 0, 60, 28], [0, 34, 20, 60], [40, 40, 60, 60], [4, 8, 50, 50]]


def test_row_is_score_and_raw_deltas_of_its_box_in_descending_order(heads):
    features = {"p4": torch.randn(1, 256, 4, 4, generator=torch.Generator().manual_seed(1))}
    proposals = [proposals_at(BOXES)]
    # Untrained predictors move boxes by a hundredth of their size: all five survive the NMS.
    ranked, (logits, deltas) = heads.rank(features, proposals)
    order = logits.softmax(1)[:, 0].argsort(descending=True)
    expected = torch.cat([logits.softmax(1)[order, :1], deltas[order]], dim=1)
    rank = torch.arange(16) * 5 // 16
    assert ranked.counts.tolist() == [5]
    torch.testing.assert_close(ranked.rows[0], expected[rank])
    decoded = heads.box_predictor.box2box_transform.apply_deltas(
        deltas, torch.tensor(BOXES).float()
    )
    torch.testing.assert_close(ranked.boxes[0], decoded[order][rank].clamp(0, 64))


def test_exactly_num_ranked_are_kept(heads):
    grid = [[x, y, x + 6, y + 6] for x in range(0, 56, 8) for y in range(0, 56, 8)]
    features = {"p4": torch.randn(1, 256, 4, 4)}
    ranked, _ = heads.rank(features, [proposals_at(grid)])
    assert ranked.counts.tolist() == [16]
    scores = ranked.rows[0, :, 0]
    assert (scores[:-1] >= scores[1:]).all()


def test_gradient_equals_that_of_scoring_all_rois(heads):
    """Only the kept RoIs are scored with gradient; the result must not show it."""
    features = {"p4": torch.randn(2, 256, 4, 4, requires_grad=True)}
    proposals = [proposals_at(BOXES), proposals_at(BOXES[:3])]
    ranked, _ = heads.rank(features, proposals)
    weights = torch.randn(ranked.rows.shape)
    (ranked.rows * weights).sum().backward()
    got = [features["p4"].grad.clone()]
    got += [p.grad.clone() for p in heads.box_head.parameters()]

    heads.zero_grad()
    features["p4"].grad = None
    pooled = heads.box_pooler([features["p4"]], [p.proposal_boxes for p in proposals])
    logits, deltas = heads.box_predictor(heads.box_head(pooled))
    rows = torch.cat([logits.softmax(1)[:, :1], deltas], dim=1)
    loss = 0
    for i, image_rows in enumerate(rows.split([5, 3])):
        best_first = image_rows[image_rows[:, 0].argsort(descending=True)]
        loss = loss + (best_first[torch.arange(16) * len(image_rows) // 16] * weights[i]).sum()
    loss.backward()
    expected = [features["p4"].grad] + [p.grad for p in heads.box_head.parameters()]
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_no_proposal_gives_zeros(heads):
    features = {"p4": torch.randn(1, 256, 4, 4)}
    ranked, predictions = heads.rank(features, [proposals_at(BOXES)[[]]])
    assert ranked.counts.tolist() == [0]
    assert ranked.rows.abs().sum() == 0
    assert len(heads.detect(features, [proposals_at(BOXES)[[]]], predictions)[0]) == 0


IMAGE = ("MODEL.RANKED_BOXES.ENCODING", "image")
TWO = ("MODEL.ROI_HEADS.NUM_CLASSES", 2)
ONE_HOT = ("MODEL.RANKED_BOXES.CLASS_ONE_HOT", True)
AGNOSTIC = ("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True)


@pytest.mark.parametrize("opts", [(), TWO, (*TWO, *AGNOSTIC)], ids=["one", "two", "agnostic"])
def test_image_rows_are_the_boxes_over_the_image_size(opts):
    heads = roi_heads(*IMAGE, *opts)
    features = {"p4": torch.randn(1, 256, 4, 4, generator=torch.Generator().manual_seed(1))}
    ranked, _ = heads.rank(features, [proposals_at(BOXES, size=(64, 128))])
    expected = ranked.boxes[0] / torch.tensor([128.0, 64, 128, 64])
    torch.testing.assert_close(ranked.rows[0, :, 1:], expected)
    with torch.no_grad():  # without gradient the rows are gathered by another way
        again, _ = heads.rank(features, [proposals_at(BOXES, size=(64, 128))])
    torch.testing.assert_close(again.rows, ranked.rows)


def test_image_rows_pass_gradients_to_the_box_regressor():
    heads = roi_heads(*IMAGE)
    ranked, _ = heads.rank({"p4": torch.randn(1, 256, 4, 4)}, [proposals_at([[8, 8, 30, 30]])])
    ranked.rows[0, 0, 1].backward()  # the left edge
    gradient = heads.box_predictor.bbox_pred.bias.grad
    assert gradient[0] > 0 and gradient[2] < 0  # of dx and dw
    assert gradient[1] == 0 and gradient[3] == 0


def test_one_hot_says_the_class_of_each_row():
    heads = roi_heads(*TWO, *ONE_HOT)
    ranked, _ = heads.rank({"p4": torch.randn(1, 256, 4, 4)}, [proposals_at(BOXES)])
    assert ranked.rows.shape == (1, 16, 7)
    assert torch.equal(ranked.rows[0, :, 5:].argmax(dim=1), ranked.classes[0])
    assert set(ranked.classes[0].tolist()) == {0, 1}


def test_random_fill_is_for_training_only_and_repeats_with_the_seed():
    features = {"p4": torch.randn(1, 256, 4, 4, generator=torch.Generator().manual_seed(1))}
    proposals = [proposals_at(BOXES)]

    def draw(heads, training):
        with torch.no_grad():
            return heads.rank(features, proposals, training)[0].rows

    fill = ("MODEL.RANKED_BOXES.FILL", "random", "SEED", 3)
    first, second = roi_heads(*fill), roi_heads(*fill)
    even = draw(roi_heads(), training=True)
    assert torch.equal(draw(first, training=False), even)
    drawn = draw(first, training=True)
    assert torch.equal(drawn, draw(second, training=True))
    assert not torch.equal(drawn, even)
    assert not torch.equal(drawn, draw(first, training=True))
    assert torch.equal(draw(first, training=False), even)


@pytest.mark.parametrize(
    ("key", "valid"), [("ENCODING", "deltas, image"), ("FILL", "even, random")]
)
def test_unknown_values_name_the_valid_ones(key, valid):
    with pytest.raises(ValueError, match=f"RANKED_BOXES.{key} is 'x'; valid are {valid}"):
        roi_heads(f"MODEL.RANKED_BOXES.{key}", "x")


def test_there_is_a_row_at_least():
    with pytest.raises(ValueError, match="RANKED_BOXES.NUM is 0; it must be 1 or more"):
        roi_heads("MODEL.RANKED_BOXES.NUM", 0)


def test_no_proposal_among_two_classes_gives_zeros():
    heads = roi_heads(*TWO, *ONE_HOT, *IMAGE)
    ranked, _ = heads.rank({"p4": torch.randn(1, 256, 4, 4)}, [proposals_at(BOXES)[[]]])
    assert ranked.rows.shape == (1, 16, 7) and ranked.rows.abs().sum() == 0


def test_masks_of_a_batch_are_those_of_stock_heads():
    heads = tiny_model("lesion").eval().roi_heads
    torch.manual_seed(0)
    features = {"p4": torch.randn(3, 256, 4, 4)}

    def boxes():
        found = []
        for own in (BOXES[:2], [], BOXES[2:]):
            image = Instances((64, 64))
            image.pred_boxes = Boxes(torch.tensor(own, dtype=torch.float).reshape(-1, 4))
            image.pred_classes = torch.zeros(len(own), dtype=torch.int64)
            found.append(image)
        return found

    with torch.no_grad():
        found = heads.forward_with_given_boxes(features, boxes())
        stock = StandardROIHeads.forward_with_given_boxes(heads, features, boxes())
    assert [len(image) for image in found] == [2, 0, 3]
    for image, expected in zip(found, stock, strict=True):
        torch.testing.assert_close(image.pred_masks, expected.pred_masks, rtol=1e-4, atol=1e-5)
