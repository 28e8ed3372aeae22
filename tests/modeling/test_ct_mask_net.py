import pytest
import torch
from detectron2.evaluation import inference_context
from tiny_models import batch, boxes_of, tiny_model
from torch.nn.modules.batchnorm import _BatchNorm

from ctmasknet.modeling import IMAGE_HEAD_REGISTRY

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


def norms(model):
    return [m for m in model.modules() if isinstance(m, _BatchNorm)]


def test_training_returns_the_image_loss_alone():
    model = tiny_model("ctmasknet")
    losses = model(batch())
    assert list(losses) == ["loss_image"]
    assert losses["loss_image"].ndim == 0 and losses["loss_image"] > 0


def test_inference_returns_class_and_instances_of_each_image():
    model = tiny_model("ctmasknet").eval()
    with torch.no_grad():
        outputs = model(batch(3))
    assert len(outputs) == 3
    for output in outputs:
        assert output["image_logits"].shape == (3,)
        assert output["image_probs"].sum() == pytest.approx(1, abs=1e-6)
        assert output["image_class"] == output["image_logits"].argmax()
        assert output["instances"].has("pred_boxes") and output["instances"].has("scores")


def test_a_batch_gives_the_answers_of_its_images():
    model = tiny_model("ctmasknet").eval()
    inputs = batch(3)
    with torch.no_grad():
        together = torch.stack([x["image_logits"] for x in model(inputs)])
        alone = torch.stack([model([x])[0]["image_logits"] for x in inputs])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_evaluation_hook_restores_training_without_detection_losses_or_moving_statistics():
    model = tiny_model("ctmasknet")
    before = [(m.running_mean.clone(), m.running_var.clone()) for m in norms(model)]
    assert before
    with inference_context(model):
        assert not model.training
    assert model.training and model.image_head.training
    assert not model.roi_heads.training and not model.proposal_generator.training
    assert list(model(batch())) == ["loss_image"]
    for module, (mean, var) in zip(norms(model), before, strict=True):
        assert torch.equal(module.running_mean, mean) and torch.equal(module.running_var, var)


@pytest.mark.parametrize("part", ["heads", "heads+bn", "full"])
def test_trainable_parts_are_those_that_get_a_gradient(part):
    model = tiny_model("ctmasknet", "MODEL.TRAINABLE", part)
    model(batch())["loss_image"].backward()
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    with_gradient = {n for n, p in model.named_parameters() if p.grad is not None}
    assert trainable == with_gradient
    head = {n for n in trainable if n.startswith("image_head")}
    assert len(head) == 6
    rest = trainable - head
    if part == "heads":
        assert not rest
    elif part == "heads+bn":
        # 2 per stem and block convolution, and the shortcuts of res3 and res4: 15 norms in all.
        assert len(rest) == 2 * 15 and all("norm" in n for n in rest)
        assert any("shortcut" in n for n in rest)
    else:
        assert any("conv1.weight" in n for n in rest)
        assert not any(n.startswith("proposal_generator") for n in rest)


def test_shortcut_norms_can_be_left_out_as_the_authors_code_does():
    model = tiny_model("ctmasknet", "MODEL.TRAIN_SHORTCUT_NORMS", False)
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    norms = {n for n in trainable if "norm" in n}
    assert len(norms) == 2 * 13  # the shortcuts of res3 and res4 are missing
    assert not any("shortcut" in n for n in norms)


@pytest.mark.parametrize("norm", ["FrozenBN", "GN"])
def test_a_backbone_without_batch_norm_cannot_train_it(norm):
    opts = ("MODEL.RESNETS.NORM", norm)
    with pytest.raises(ValueError, match="no BatchNorm to train"):
        tiny_model("ctmasknet", *opts)
    assert tiny_model("ctmasknet", *opts, "MODEL.TRAINABLE", "heads").training


def test_unknown_trainable_part_names_the_valid_ones():
    with pytest.raises(ValueError, match=r"'head'.*heads, heads\+bn, full"):
        tiny_model("ctmasknet", "MODEL.TRAINABLE", "head")


def test_stock_roi_heads_are_refused():
    with pytest.raises(ValueError, match="StandardROIHeads; set it to RankedROIHeads"):
        tiny_model("ctmasknet", "MODEL.ROI_HEADS.NAME", "StandardROIHeads")


def test_image_without_label_is_named():
    inputs = batch()
    del inputs[1]["label"]
    with pytest.raises(ValueError, match="slice_1.png has none"):
        tiny_model("ctmasknet")(inputs)


def test_nan_names_the_image():
    inputs = batch()
    inputs[1]["image"][0, 0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="slice_1.png"):
        tiny_model("ctmasknet").eval()(inputs)


@pytest.mark.parametrize(
    "part",
    [
        "proposal_generator.rpn_head.objectness_logits",
        "proposal_generator.rpn_head.anchor_deltas",
        "roi_heads.box_predictor.cls_score",
        "roi_heads.box_predictor.bbox_pred",
    ],
)
@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("mode", [True, False], ids=["training", "inference"])
def test_what_is_not_finite_never_reaches_the_image_head(part, value, mode):
    model = tiny_model("ctmasknet").train(mode)
    model.get_submodule(part).bias.data[0] = float(value)
    seen = []
    model.image_head.register_forward_hook(lambda *_: seen.append(True))
    with pytest.raises(FloatingPointError, match="slice_0.png gives NaN or infinity"):
        model(batch())
    assert not seen


def test_a_lesion_model_names_the_image_too():
    model = tiny_model("lesion").eval()
    model.roi_heads.box_predictor.cls_score.bias.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match="slice_0.png gives NaN or infinity"):
        model(batch())


def test_rows_with_gradient_are_those_without_to_the_last_digit():
    """With gradient the kept RoIs are pooled again: the same boxes, not rounded ones."""
    model = tiny_model("ctmasknet", "MODEL.TRAINABLE", "full").double().eval()
    with_gradient = model(batch(2))
    with torch.no_grad():
        without = model(batch(2))
    for a, b in zip(with_gradient, without, strict=True):
        assert a["image_logits"].requires_grad
        for key in ("rows", "boxes"):
            x, y = (getattr(z["ranked_boxes"], key) for z in (a, b))
            torch.testing.assert_close(x.detach(), y, rtol=0, atol=1e-12)


def test_no_row_at_all_is_classified_and_trained_from_zeros():
    """Proposals of zero area, moved outside the image: nothing is left to rank."""
    model = tiny_model("ctmasknet")
    model.roi_heads.box_predictor.bbox_pred.bias.data[0] = 1e6
    losses = model(batch())
    losses["loss_image"].backward()
    assert torch.isfinite(losses["loss_image"])
    with torch.no_grad():
        (output,) = model.eval()(batch(1))
    assert output["ranked_boxes"].counts == 0 and output["ranked_boxes"].rows.abs().sum() == 0
    head = model.image_head
    zeros = torch.zeros(head.num_boxes, head.row_size)
    expected = head(boxes_of(zeros)[None])[0]
    torch.testing.assert_close(output["image_logits"], expected.detach())
    assert len(output["instances"]) == 0


def test_the_image_loss_is_a_key():
    logits, labels = torch.tensor([[2.0, -1, 0], [0.5, 0, 0]]), torch.tensor([0, 2])
    losses = {
        name: tiny_model("ctmasknet", "MODEL.IMAGE_HEAD.LOSS", name).image_head.losses(
            logits, labels
        )["loss_image"]
        for name in ("binary_cross_entropy", "cross_entropy")
    }
    p, q = logits.sigmoid(), logits.softmax(dim=1)
    one_hot = torch.tensor([[1.0, 0, 0], [0, 0, 1]])
    binary = -(one_hot * p.log() + (1 - one_hot) * (1 - p).log()).mean()
    torch.testing.assert_close(losses["binary_cross_entropy"], binary)
    torch.testing.assert_close(losses["cross_entropy"], -(q[0, 0].log() + q[1, 2].log()) / 2)
    with pytest.raises(ValueError, match="'focal'; valid are binary_cross_entropy, cross_entropy"):
        tiny_model("ctmasknet", "MODEL.IMAGE_HEAD.LOSS", "focal")


def test_a_head_that_reads_a_tensor_is_refused_with_what_to_do():
    class OldHead(torch.nn.Module):
        def __init__(self, cfg):
            super().__init__()

    for old in (OldHead, lambda cfg, input_shape: torch.nn.Identity()):
        IMAGE_HEAD_REGISTRY._do_register("OldHead", old)
        try:
            with pytest.raises(ValueError, match=r"'OldHead', which is no ImageHead: derive it"):
                tiny_model("ctmasknet", "MODEL.IMAGE_HEAD.NAME", "OldHead")
        finally:
            IMAGE_HEAD_REGISTRY._obj_map.pop("OldHead")


def test_parameter_counts_are_the_papers_less_what_detectron2_does_not_have():
    # The author's network has 6,051,810 and 6,283,235: 6,051,810 - 645 and 6,283,235 - 516.
    lesion = tiny_model("lesion")
    assert sum(p.numel() for p in lesion.parameters()) == 6_051_165
    full_head = tiny_model(
        "ctmasknet", "MODEL.RANKED_BOXES.NUM", "128", "MODEL.IMAGE_HEAD.FC_DIM", "512"
    )
    assert sum(p.numel() for p in full_head.parameters()) == 6_282_719
    assert sum(p.numel() for p in full_head.image_head.parameters()) == 592_387
