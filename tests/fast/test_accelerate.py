"""Accelerated models compute what stock ones do, with each acceleration and with all of them."""

from copy import deepcopy
from functools import cache

import pytest
import torch
from detectron2.layers import Conv2d
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from tiny_models import batch, fast_model, small_cfg, tiny_cfg, tiny_model

from ctmasknet.fast import ACCELERATIONS, accelerate
from ctmasknet.fast import microbatches as microbatches_module
from ctmasknet.modeling import CTMaskNet, RankedROIHeads

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

CONFIGS = ("lesion/R18_T1", "ctmasknet/R18_T1_heads_BN")
LARGE = ("lesion/R34_T2", "ctmasknet/R34_T2_full", "lesion/R50_both", "ctmasknet/R50_both_full")
ROWS = (*((name,) for name in ACCELERATIONS), tuple(ACCELERATIONS))
FEW = ("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 16, "TEST.DETECTIONS_PER_IMAGE", 8)


@cache
def stock(name, dtype):
    torch.manual_seed(0)
    model = build_model(small_cfg(name, *FEW)).to(dtype)
    for module in model.modules():  # statistics and factors as of a trained network
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.weight, -0.5, 1)
    return model


def inputs(with_truth):
    """Two grey images and a coloured one, with a lesion each."""
    items = batch(3)
    for i, item in enumerate(items):
        item["image"] = item["image"].to(torch.uint8)
        if i < 2:
            item["image"] = item["image"][:1].repeat(3, 1, 1)
        truth = Instances((64, 64))
        truth.gt_boxes = Boxes(torch.tensor([[8.0 * i, 8, 40, 48]]))
        truth.gt_classes = torch.zeros(1, dtype=torch.int64)
        masks = torch.zeros(1, 64, 64, dtype=torch.bool)
        masks[0, 8:48, 8 * i : 40] = True
        truth.gt_masks = BitMasks(masks)
        if with_truth:
            item["instances"] = truth
    return items


@cache
def losses_and_gradients(name, dtype, only):
    model = accelerate(deepcopy(stock(name, dtype)), only).train()
    torch.manual_seed(0)  # RoIs are sampled
    with EventStorage():
        losses = model(inputs("lesion" in name))
    sum(losses.values()).backward()
    found = {n: x.detach() for n, x in losses.items()}
    return found | {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@cache
def predictions(name, dtype, only):
    model = accelerate(deepcopy(stock(name, dtype)), only).eval()
    with torch.no_grad():
        outputs = model(inputs(False))
    found = {}
    for i, output in enumerate(outputs):
        instances = output["instances"]
        found[f"boxes {i}"], found[f"scores {i}"] = instances.pred_boxes.tensor, instances.scores
        found |= {f"{key} {i}": output[key] for key in ("image_logits",) if key in output}
        if "ranked_boxes" in output:
            found[f"rows {i}"] = output["ranked_boxes"].rows
        if instances.has("pred_masks"):
            found[f"masks {i}"] = instances.pred_masks.double()
    return found


@pytest.mark.parametrize("only", ROWS, ids=lambda x: x[0] if len(x) == 1 else "all")
@pytest.mark.parametrize("compute", [losses_and_gradients, predictions])
@pytest.mark.parametrize(
    "name", [*CONFIGS, *(pytest.param(x, marks=pytest.mark.slow) for x in LARGE)]
)
def test_accelerated_equals_stock(name, compute, only, two_threads):
    # float64: rounding would change the order of boxes whose scores nearly tie. It has three
    # channels for grey images, too; see test_grey_input.py.
    expected = compute(name, torch.float64, ())
    found = compute(name, torch.float64, only)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        scale = value.abs().max().item() if value.numel() else 0
        assert found[key].shape == value.shape, key
        torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-9 * scale + 1e-12)
    assert any(x.abs().sum() > 0 for x in found.values())


def test_names_and_values_in_checkpoints_stay():
    plain, fast = tiny_model("ctmasknet"), fast_model("ctmasknet")
    assert [*fast.state_dict()] == [*plain.state_dict()]
    for a, b in zip(fast.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b) and a.requires_grad == b.requires_grad


@pytest.mark.parametrize("first", ACCELERATIONS)
def test_accelerations_are_applied_once_and_may_be_added(first):
    model = tiny_model("ctmasknet")
    assert accelerate(model, [first]) is model and model.accelerations == (first,)
    accelerate(accelerate(model)).eval()
    assert sorted(model.accelerations) == sorted(ACCELERATIONS)
    assert len(model.backbone._forward_pre_hooks) == 1
    with torch.no_grad():
        found, expected = (x(inputs(False)) for x in (model, fast_model("ctmasknet").eval()))
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one["image_logits"], other["image_logits"])


def test_an_unknown_acceleration_names_the_valid_ones():
    with pytest.raises(ValueError, match="'warp'; valid are channels_last, folded_batch_norm"):
        accelerate(tiny_model("lesion"), ["warp"])


def test_a_network_that_is_not_ours_stays_as_it_is():
    cfg = tiny_cfg("lesion", "MODEL.META_ARCHITECTURE", "GeneralizedRCNN")
    model = accelerate(build_model(cfg))
    assert not hasattr(model, "accelerations")
    assert all("forward" not in vars(x) for x in model.modules() if isinstance(x, Conv2d))


def test_a_copy_computes_with_its_own_weights():
    model = fast_model("lesion").eval()
    items = inputs(False)
    with torch.no_grad():
        before = model.extract_features(items)[1]["p4"]
        copy = deepcopy(model)
        for parameter in model.parameters():
            parameter.zero_()
        assert torch.equal(copy.extract_features(items)[1]["p4"], before)
        assert model.extract_features(items)[1]["p4"].abs().sum() == 0


def test_building_a_model_changes_no_setting_of_the_process(two_threads):
    fast_model("ctmasknet")
    assert torch.get_num_threads() == 2


def test_a_method_of_ones_own_stays():
    class OwnHeads(RankedROIHeads):
        def rank(self, *args):
            raise AssertionError("called")

    class OwnModel(CTMaskNet):
        def run_losses(self, losses, inputs):
            return {"own": torch.zeros(())}

    model = tiny_model("ctmasknet")
    model.__class__, model.roi_heads.__class__ = OwnModel, OwnHeads
    accelerate(model)
    assert list(model(batch())) == ["own"]
    with pytest.raises(AssertionError, match="called"):
        model.eval()(batch())


def test_norms_that_follow_the_images_see_the_whole_batch_without_gradient_too(monkeypatch):
    monkeypatch.setattr(microbatches_module, "_MAX_BYTES", 1)
    results = []
    for build in (tiny_model, fast_model):
        model = build("lesion").train()
        with torch.no_grad():
            model.backbone(model.preprocess_image(inputs(False)).tensor)
        results.append(model.backbone.bottom_up.stem.conv1.norm.running_mean)
    torch.testing.assert_close(*results)


def test_a_head_with_batch_norm_trains_on_the_whole_batch():
    losses = []
    for build in (tiny_model, fast_model):
        model = build("ctmasknet")
        head = model.image_head
        head.fc2 = torch.nn.Sequential(torch.nn.BatchNorm1d(8), head.fc2)
        losses.append(model(batch())["loss_image"])
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)


def test_weights_cast_without_gradient_do_not_keep_it_from_those_scored_again():
    model = fast_model("ctmasknet", "MODEL.TRAINABLE", "full")
    with torch.autocast("cpu", torch.bfloat16):  # a user's own, which keeps cast weights
        model(batch(1))["loss_image"].backward()
    assert all(p.grad is not None for p in model.roi_heads.box_head.parameters())
