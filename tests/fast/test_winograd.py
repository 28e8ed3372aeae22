import pytest
import torch
from torch.nn import functional as F

from ctmasknet.fast import winograd
from ctmasknet.fast.winograd import convolve, convolve_frozen, winograd_wins

PLAIN = ((1, 1), (1, 1), (1, 1), 1)


def case(height, width, images=2, channels=5, out=3, dtype=torch.float64):
    torch.manual_seed(height * 100 + width)
    x = torch.randn(images, channels, height, width, dtype=dtype)
    return x, torch.randn(out, channels, 3, 3, dtype=dtype), torch.randn(out, dtype=dtype)


@pytest.mark.parametrize(
    ("height", "width"), [(4, 4), (8, 12), (1, 1), (2, 7), (5, 3), (14, 14), (9, 16)]
)
def test_it_is_the_convolution(height, width):
    x, weight, bias = case(height, width)
    for own in (bias, None):
        found = convolve(x, weight, own)
        torch.testing.assert_close(found, F.conv2d(x, weight, own, padding=1), rtol=0, atol=1e-12)


# 5 images of 3 x 2 tiles: a row of tiles at a time, an image, two images, all.
@pytest.mark.parametrize("tiles", [1, 2, 6, 12, 30])
def test_parts_of_an_image_and_of_a_batch_are_the_whole(tiles, monkeypatch):
    x, weight, bias = case(10, 7, images=5)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(winograd, "_MEMORY", tiles * 36 * 5 * 8)
    found = convolve(x, weight, bias)
    torch.testing.assert_close(found, F.conv2d(x, weight, bias, padding=1), rtol=0, atol=1e-12)


def test_float32_rounds_by_a_millionth():
    x, weight, bias = case(32, 32, images=1, channels=128, out=128)
    exact = F.conv2d(x, weight, bias, padding=1)
    found = convolve(x.float(), weight.float(), bias.float())
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 5e-6 * exact.abs().max()
    assert (found - exact).std() < 1.5e-6 * exact.std()


@pytest.mark.parametrize(("side", "whole"), [(8, True), (14, False)])
def test_the_result_is_channels_last_as_of_other_convolutions(side, whole):
    found = convolve(*case(side, side))
    assert found.stride()[1] == 1
    assert found.is_contiguous(memory_format=torch.channels_last) == whole


@pytest.mark.parametrize(("height", "width"), [(5, 3), (1, 1), (4, 8)])
def test_the_gradient_is_the_convolutions(height, width):
    x, weight, _ = case(height, width)
    assert torch.autograd.gradcheck(convolve_frozen, (x.requires_grad_(), weight))


def test_what_training_gets_may_be_changed_in_place():
    x, weight, _ = case(6, 6)
    out = convolve_frozen(x.requires_grad_(), weight)
    out.relu_().sum().backward()
    expected = torch.autograd.grad(F.conv2d(x, weight, padding=1).relu().sum(), x)[0]
    torch.testing.assert_close(x.grad, expected, rtol=0, atol=1e-12)


def test_matrices_made_in_inference_mode_serve_training():
    x, weight, _ = case(4, 4)
    winograd._matrices.cache_clear()
    with torch.inference_mode():
        convolve(x, weight)
    x.requires_grad_()
    convolve(x, weight).sum().backward()
    assert x.grad.isfinite().all()


def test_no_image_gives_no_image():
    x, weight, bias = case(8, 8, images=0)
    assert convolve(x, weight, bias).shape == (0, 3, 8, 8)


def test_infinity_shows():
    x, weight, _ = case(8, 8)
    x[1, 0, 3, 3] = torch.inf
    found = convolve(x, weight)
    assert found[0].isfinite().all() and not found[1].isfinite().all()


def test_it_is_for_plain_convolutions_with_many_channels_in_full_precision():
    x, weight = torch.randn(2, 128, 32, 32), torch.randn(128, 128, 3, 3)
    assert winograd_wins(x, weight, *PLAIN)
    assert winograd_wins(x.double(), weight.double(), *PLAIN)
    assert not winograd_wins(x.bfloat16(), weight.bfloat16(), *PLAIN)
    assert not winograd_wins(x[:, :64], weight[:, :64], *PLAIN)
    assert not winograd_wins(x[:, :, :2, :2], weight, *PLAIN)  # mostly border
    assert not winograd_wins(x[0], weight, *PLAIN)
    many = torch.randn(512, 512, 3, 3)
    assert not winograd_wins(torch.randn(1, 512, 32, 32), many, *PLAIN)  # 38 MB transformed
    assert not winograd_wins(x, torch.randn(128, 128, 1, 1), (1, 1), (0, 0), (1, 1), 1)
    other = ((2, 2), (0, 0), (2, 2), 2)
    for i in range(4):
        assert not winograd_wins(x, weight, *PLAIN[:i], other[i], *PLAIN[i + 1 :])
    with torch.autocast("cpu", torch.bfloat16):
        assert not winograd_wins(x, weight, *PLAIN)


def test_a_trace_keeps_the_convolution():
    weight = torch.randn(128, 128, 3, 3)
    wins = []
    torch.jit.trace(
        lambda x: (wins.append(winograd_wins(x, weight, *PLAIN)), x + 1)[1],
        torch.randn(1, 128, 16, 16),
        check_trace=False,
    )
    assert wins == [False]
