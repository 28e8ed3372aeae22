import pytest
import torch
from tiny_models import batch, tiny_model
from torch.nn import functional as F

from ctmasknet.fast.grey_input import CENTRE, grey_batch, grey_convolution
from ctmasknet.fast.stem import PoolingStem

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def grey(*size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (1, *size), dtype=torch.uint8, generator=generator).repeat(3, 1, 1)


def grey_items(num=2, size=(64, 96)):
    return [{**x, "image": grey(*size, seed=i)} for i, x in enumerate(batch(num, size))]


def layer(bias=True):
    torch.manual_seed(0)
    return torch.randn(8, 3, 7, 7).double(), torch.randn(8).double() if bias else None


def of_three_channels(images, weight, bias):
    mean, std = (weight.new_tensor(x)[:, None, None] for x in (MEAN, STD))
    normalised = (torch.stack(images).to(weight) - mean) / std
    return F.conv2d(normalised, weight, bias, stride=2, padding=3)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(16, 16), (32, 20), (64, 96)])
def test_one_channel_is_three_alike_up_to_the_border(size, bias):
    images = [grey(*size, seed=seed) for seed in (1, 2)]
    weight, bias = layer(bias)
    found = grey_convolution(weight, bias, MEAN, STD)(grey_batch(images).double())
    expected = of_three_channels(images, weight, bias)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_bfloat16_rounds_no_more_than_with_three_channels():
    images = [grey(64, 96)]
    weight, bias = layer()
    expected = of_three_channels(images, weight, bias)
    with torch.autocast("cpu", torch.bfloat16):
        found = grey_convolution(weight.float(), bias.float(), MEAN, STD)(grey_batch(images))
        plain = of_three_channels(images, weight.float(), bias.float())
    errors = [(own - expected).square().mean().sqrt() for own in (found, plain)]
    assert found.dtype == plain.dtype == torch.bfloat16
    assert 0 < errors[0] < 1.1 * errors[1]


@pytest.mark.parametrize("half", [True, False])
def test_the_output_is_channels_last(half):
    weight, bias = layer()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        found = grey_convolution(weight.float(), bias.float(), MEAN, STD)(
            grey_batch([grey(32, 32)])
        )
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_batch_is_pixels_less_the_centre():
    found = grey_batch([grey(32, 48), grey(32, 48, seed=1)])
    assert found.shape == (2, 1, 32, 48) and found.dtype == torch.float32
    assert torch.equal(found[1, 0] + CENTRE, grey(32, 48, seed=1)[2].float())


def test_other_images_are_refused():
    one = grey(32, 32)
    for i in range(3):
        colour = one.clone()
        colour[i, 31, 31] ^= 1
        assert grey_batch([one, colour]) is None
    assert grey_batch([one.float()]) is None
    assert grey_batch([one[:1]]) is grey_batch([one.repeat(2, 1, 1)]) is None
    assert grey_batch([grey(32, 33)]) is None
    assert grey_batch([grey(14, 32)]) is None


@pytest.mark.parametrize("kind", ["lesion", "ctmasknet"])
def test_a_model_answers_for_one_channel_as_for_three(monkeypatch, kind):
    model, items = tiny_model(kind).eval(), grey_items()
    results = []
    for channels in (1, 3):
        if channels == 3:
            monkeypatch.setattr(PoolingStem, "takes_grey", False)
        with torch.no_grad():
            x = model.preprocess_image(items).tensor
            assert x.shape == (2, channels, 64, 96)
            results.append(model.backbone(x)["p4"])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("part", ["heads", "heads+bn"])
def test_gradients_are_those_of_three_channels(monkeypatch, part):
    results = []
    for channels in (1, 3):
        if channels == 3:
            monkeypatch.setattr(PoolingStem, "takes_grey", False)
        model = tiny_model("ctmasknet", "MODEL.TRAINABLE", part)
        torch.nn.init.normal_(model.backbone.bottom_up.stem.conv1.norm.weight)  # negative ones, too
        assert model.preprocess_image(grey_items()).tensor.shape[1] == channels
        model(grey_items())["loss_image"].backward()
        results.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    for name, gradient in results[0].items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(results[1][name], gradient, rtol=1e-3, atol=1e-4 * scale)


def channels(model, items):
    return model.preprocess_image(items).tensor.shape[1]


def test_where_three_channels_stay():
    items = grey_items()
    assert channels(tiny_model("lesion").eval(), items) == 3  # its weights learn
    with torch.no_grad():
        assert channels(tiny_model("lesion"), items) == 3  # BatchNorm follows the images
        assert channels(tiny_model("lesion").double().eval(), items) == 3
        assert channels(tiny_model("lesion").eval(), batch()) == 3
        assert channels(tiny_model("lesion").eval(), grey_items(size=(60, 64))) == 3  # padded
        frozen = tiny_model("lesion", "MODEL.RESNETS.NORM", "FrozenBN")
        assert channels(frozen.eval(), items) == 3  # not folded
        assert channels(tiny_model("lesion").eval(), items) == 1


def test_grey_images_beside_coloured_ones_are_answered_as_alone():
    model, items = tiny_model("ctmasknet", "MODEL.PRECISION", "bfloat16").eval(), grey_items(3)
    items[1]["image"] = items[1]["image"].clone()
    items[1]["image"][0] ^= 255
    with torch.no_grad():
        together = model(items)
        alone = [model([item])[0] for item in items]
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one["image_logits"], other["image_logits"])


@pytest.mark.parametrize("opts", [(), ("MODEL.RESNETS.NORM", "")])
def test_what_was_made_without_gradient_can_be_read_with_it(opts):
    model, items = tiny_model("lesion", *opts).eval(), grey_items()
    with torch.no_grad():
        x = model.preprocess_image(items).tensor
        expected = model.backbone(x)["p4"]
    assert x.shape[1] == 1
    for asks in (x, x.clone().requires_grad_()):  # the weights learn; the image is asked for, too
        found = model.backbone(asks)["p4"]
        torch.testing.assert_close(found.detach(), expected, rtol=1e-4, atol=1e-5)
    found.sum().backward()
    assert asks.grad.abs().sum() > 0


def test_in_bfloat16_a_training_step_is_that_of_three_channels_within_noise(monkeypatch):
    losses = []
    for takes_grey in (True, False):
        if not takes_grey:
            monkeypatch.setattr(PoolingStem, "takes_grey", False)
        model = tiny_model("ctmasknet", "MODEL.PRECISION", "bfloat16")
        loss = model(grey_items())["loss_image"]
        loss.backward()
        norm = model.backbone.bottom_up.stem.conv1.norm
        assert norm.weight.grad.isfinite().all() and norm.weight.grad.abs().sum() > 0
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
