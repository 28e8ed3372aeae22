"""One network that learns lesions and image classes in the same steps."""

import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from tiny_models import batch, tiny_model
from torch.nn.modules.batchnorm import _BatchNorm

from ctmasknet.fast import accelerate

pytestmark = pytest.mark.slow  # whole networks

ONE_SHOT = ("MODEL.TRAINABLE", "one-shot", "MODEL.MASK_ON", True)
LESIONS = {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg", "loss_mask"}


def with_lesion(x):
    """A slice with a mask and without a label."""
    size = tuple(x["image"].shape[-2:])
    mask = torch.zeros(1, *size, dtype=torch.bool)
    mask[:, 10:40, 20:50] = True
    boxes, classes = Boxes(torch.tensor([[20.0, 10.0, 50.0, 40.0]])), torch.zeros(1).long()
    own = Instances(size, gt_boxes=boxes, gt_classes=classes, gt_masks=BitMasks(mask))
    return {**{k: v for k, v in x.items() if k != "label"}, "instances": own}


def mixed(count=2):
    inputs = batch(2 * count)
    return [with_lesion(x) if i % 2 else x for i, x in enumerate(inputs)]


@pytest.fixture(params=["stock", "fast"])
def model(request):
    model = tiny_model("ctmasknet", *ONE_SHOT)
    return accelerate(model) if request.param == "fast" else model


def losses_of(model, inputs):
    with EventStorage():
        return model(inputs)


def test_a_mixed_batch_has_all_losses_and_all_parameters_a_gradient(model):
    losses = losses_of(model, mixed())
    assert set(losses) == LESIONS | {"loss_image"}
    sum(losses.values()).backward()
    assert [n for n, x in model.named_parameters() if x.grad is None] == []
    assert model.proposal_generator.rpn_head.conv.weight.grad.abs().sum() > 0


def test_each_slice_has_the_losses_of_its_kind(model):
    inputs = mixed()
    assert set(losses_of(model, inputs[1::2])) == LESIONS
    alone = losses_of(model, inputs[::2])
    assert set(alone) == {"loss_image"}
    torch.testing.assert_close(alone["loss_image"], losses_of(model, inputs)["loss_image"])
    # The image loss is that of a network that learns nothing else.
    full = tiny_model("ctmasknet", "MODEL.TRAINABLE", "full")
    full.load_state_dict({k: v for k, v in model.state_dict().items() if "mask_head" not in k})
    torch.testing.assert_close(
        alone["loss_image"], full(inputs[::2])["loss_image"], rtol=1e-4, atol=1e-6
    )


def test_a_slice_with_both_counts_for_both(model):
    x = batch(1)[0]
    assert set(losses_of(model, [{**with_lesion(x), "label": 1}])) == LESIONS | {"loss_image"}


def test_norms_stay_and_the_detector_is_as_at_inference_after_a_step(model):
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    before = [m.running_mean.clone() for m in norms]
    losses_of(model, mixed())
    assert all(torch.equal(m.running_mean, x) for m, x in zip(norms, before, strict=True))
    assert model.training
    assert not model.roi_heads.training and not model.proposal_generator.training
    broken = [{k: v for k, v in x.items() if k != "image"} for x in mixed()]
    with pytest.raises(KeyError):
        losses_of(model, broken)
    assert not model.roi_heads.training and not model.proposal_generator.training


def test_inference_gives_classes_and_masks(model):
    with torch.no_grad():
        (found,) = model.eval()(batch(1))
    assert found["image_logits"].shape == (3,) and found["instances"].has("pred_masks")


def test_a_slice_of_neither_kind_is_named(model):
    x = {k: v for k, v in batch(1)[0].items() if k != "label"}
    with pytest.raises(ValueError, match="slice_0.png has none"):
        losses_of(model, [x])


def test_other_trainings_have_the_image_loss_alone_whatever_the_slices():
    losses = losses_of(
        tiny_model("ctmasknet"), [{**with_lesion(x), "label": x["label"]} for x in batch(2)]
    )
    assert set(losses) == {"loss_image"}
