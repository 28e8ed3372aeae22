import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import EventStorage
from tiny_models import tiny_cfg

from ctmasknet.modeling.finite import NotFiniteError


def rpn(name, *opts):
    """An RPN whose logits and deltas are far enough apart to be ranked alike by both classes."""
    torch.manual_seed(0)
    model = build_model(tiny_cfg("lesion", "MODEL.PROPOSAL_GENERATOR.NAME", name, *opts))
    head = model.proposal_generator.rpn_head
    torch.nn.init.normal_(head.objectness_logits.weight, std=0.5)
    torch.nn.init.normal_(head.anchor_deltas.weight, std=0.05)
    return model.proposal_generator


def inputs(seed=1):
    generator = torch.Generator().manual_seed(seed)
    features = {"p4": torch.randn(2, 256, 4, 6, generator=generator)}
    return ImageList(torch.zeros(2, 3, 64, 96), [(64, 96), (50, 80)]), features


def test_proposals_are_the_stock_ones():
    images, features = inputs()
    with torch.no_grad():
        ours, _ = rpn("LesionRPN").eval()(images, features)
        stock, _ = rpn("RPN").eval()(images, features)
    for a, b in zip(ours, stock, strict=True):
        assert len(a) == len(b) > 20 and a.image_size == b.image_size
        torch.testing.assert_close(a.proposal_boxes.tensor, b.proposal_boxes.tensor)
        torch.testing.assert_close(a.objectness_logits, b.objectness_logits)


def test_losses_are_the_stock_ones():
    images, features = inputs()
    truth = Instances((64, 96), gt_boxes=Boxes(torch.tensor([[10.0, 10, 40, 40]])))
    losses = []
    for name in ("LesionRPN", "RPN"):
        model = rpn(name).train()
        torch.manual_seed(3)  # anchors are sampled
        with EventStorage():
            proposals, loss = model(images, features, [truth, truth])
        assert len(proposals[0]) == 50
        losses.append(loss)
    assert losses[0].keys() == losses[1].keys()
    for key, value in losses[0].items():
        torch.testing.assert_close(value, losses[1][key])


def predict(model, logits, deltas, anchors):
    return model.predict_proposals(
        [Boxes(level) for level in anchors],
        [level[None] for level in logits],
        [level[None] for level in deltas],
        [(64, 64)],
    )[0]


@pytest.mark.parametrize(("min_size", "count"), [(0, 1), (-1, 2)])
def test_proposals_without_area_stay_on_request(min_size, count):
    model = rpn("LesionRPN", "MODEL.PROPOSAL_GENERATOR.MIN_SIZE", min_size).eval()
    flat, square = [0.0, 8, 20, 8], [0.0, 0, 16, 16]
    found = predict(
        model, [torch.tensor([3.0, 2.0])], [torch.zeros(2, 4)], [torch.tensor([flat, square])]
    )
    assert len(found) == count
    assert found.proposal_boxes.tensor[-1].tolist() == square


def test_levels_are_thinned_apart_and_ranked_together():
    model = rpn("LesionRPN").eval()
    box = torch.tensor([[0.0, 0, 16, 16]])
    two = torch.cat([box, box + 1])  # IoU 0.78: above the threshold of 0.75
    found = predict(
        model,
        [torch.tensor([1.0, 3.0]), torch.tensor([2.0])],
        [torch.zeros(2, 4), torch.zeros(1, 4)],
        [two, box],
    )
    assert found.objectness_logits.tolist() == [3.0, 2.0]


@pytest.mark.parametrize("where", ["logits", "deltas"])
def test_nan_and_infinity_are_errors(where):
    images, features = inputs()
    model = rpn("LesionRPN").eval()
    head = model.rpn_head.objectness_logits if where == "logits" else model.rpn_head.anchor_deltas
    with torch.no_grad():
        head.bias[:] = float("inf") if where == "logits" else float("nan")
        with pytest.raises(NotFiniteError, match="image 0 of the batch"):
            model(images, features)
