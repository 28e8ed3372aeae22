import pytest
import torch
from tiny_models import batch, fast_model, tiny_model
from torch.nn import functional as F

from ctmasknet.fast.grey_input import CENTRE, convolve_grey, grey_batch

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

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
    found = convolve_grey(grey_batch(images).double(), weight, bias, MEAN, STD)
    expected = of_three_channels(images, weight, bias)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_bfloat16_rounds_no_more_than_with_three_channels():
    images = [grey(64, 96)]
    weight, bias = layer()
    expected = of_three_channels(images, weight, bias)
    with torch.autocast("cpu", torch.bfloat16):
        found = convolve_grey(grey_batch(images), weight.float(), bias.float(), MEAN, STD)
        plain = of_three_channels(images, weight.float(), bias.float())
    errors = [(own - expected).square().mean().sqrt() for own in (found, plain)]
    assert found.dtype == plain.dtype == torch.bfloat16
    assert 0 < errors[0] < 1.1 * errors[1]


@pytest.mark.parametrize("half", [True, False])
def test_the_output_is_channels_last(half):
    weight, bias = layer()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        found = convolve_grey(grey_batch([grey(32, 32)]), weight.float(), bias.float(), MEAN, STD)
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


GREY = ("grey_input",)
STEM = ("grey_input", "pooled_stem", "folded_batch_norm")


def channels_seen(model):
    """Of every batch that reaches the backbone."""
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    return seen


@pytest.mark.parametrize("only", [GREY, STEM])
@pytest.mark.parametrize("kind", ["lesion", "ctmasknet"])
def test_features_of_one_channel_are_those_of_three(kind, only):
    model, plain = (x.eval() for x in (fast_model(kind, only=only), tiny_model(kind)))
    seen = channels_seen(model)
    with torch.no_grad():
        (images, found), (_, expected) = (x.extract_features(grey_items()) for x in (model, plain))
    assert seen == [1] and images.image_sizes == [(64, 96)] * 2
    torch.testing.assert_close(found["p4"], expected["p4"], rtol=1e-4, atol=1e-5)


def test_preprocessing_always_gives_three_normalised_channels():
    model, plain = fast_model("ctmasknet").eval(), tiny_model("ctmasknet")
    with torch.no_grad():
        found, expected = (x.preprocess_image(grey_items()).tensor for x in (model, plain))
    assert found.shape == (2, 3, 64, 96) and torch.equal(found, expected)


@pytest.mark.parametrize("only", [GREY, STEM])
@pytest.mark.parametrize("part", ["heads", "heads+bn"])
def test_gradients_are_those_of_three_channels(part, only):
    results = []
    for names in (only, ()):
        model = fast_model("ctmasknet", "MODEL.TRAINABLE", part, only=names)
        torch.nn.init.normal_(model.backbone.bottom_up.stem.conv1.norm.weight)  # negative ones, too
        seen = channels_seen(model)
        model(grey_items())["loss_image"].backward()
        assert seen == ([1] if names else [3])
        results.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    for name, gradient in results[0].items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(results[1][name], gradient, rtol=1e-3, atol=1e-4 * scale)


def channels(model, items):
    seen = channels_seen(model)
    model.extract_features(items)
    return seen[0]


def test_where_three_channels_stay():
    items = grey_items()
    assert channels(fast_model("lesion").eval(), items) == 3  # its weights learn
    with torch.no_grad():
        assert channels(fast_model("lesion"), items) == 3  # BatchNorm follows the images
        assert channels(fast_model("lesion").double().eval(), items) == 3
        assert channels(fast_model("lesion").eval(), batch()) == 3
        assert channels(fast_model("lesion").eval(), grey_items(size=(60, 64))) == 3  # padded
        frozen = fast_model("lesion", "MODEL.RESNETS.NORM", "FrozenBN")
        assert channels(frozen.eval(), items) == 3  # not folded
        assert channels(fast_model("lesion").eval(), items) == 1


def test_grey_images_beside_coloured_ones_give_what_they_give_alone():
    model, items = fast_model("ctmasknet", "MODEL.PRECISION", "bfloat16").eval(), grey_items(3)
    items[1]["image"] = items[1]["image"].clone()
    items[1]["image"][0] ^= 255
    with torch.no_grad():
        together = model(items)
        alone = [model([item])[0] for item in items]
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one["image_logits"], other["image_logits"])


def test_in_bfloat16_a_training_step_is_that_of_three_channels_within_noise():
    losses = []
    for only in (STEM, STEM[1:]):
        model = fast_model("ctmasknet", "MODEL.PRECISION", "bfloat16", only=only)
        loss = model(grey_items())["loss_image"]
        loss.backward()
        norm = model.backbone.bottom_up.stem.conv1.norm
        assert norm.weight.grad.isfinite().all() and norm.weight.grad.abs().sum() > 0
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
