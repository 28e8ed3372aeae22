import pytest
import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import nn

from ctmasknet.fast.convolution import folded_batch_norm


def conv(bias=False):
    torch.manual_seed(0)
    layer = Conv2d(3, 5, 3, stride=2, bias=bias, norm=nn.BatchNorm2d(5), activation=nn.ReLU())
    for value in (layer.norm.weight, layer.norm.bias, layer.norm.running_mean):
        nn.init.normal_(value)
    nn.init.uniform_(layer.norm.running_var, 0.5, 2)
    return layer.double().eval()


@pytest.mark.parametrize("bias", [True, False])
def test_a_folded_layer_is_the_same_function_with_the_weights_of_the_moment(bias):
    plain, folded = conv(bias), conv(bias)
    folded_batch_norm(nn.Sequential(folded))
    x = torch.randn(2, 3, 9, 9).double()
    for _ in range(2):
        with torch.no_grad():
            torch.testing.assert_close(folded(x), plain(x), rtol=1e-12, atol=1e-12)
            for layer in (plain, folded):
                layer.norm.running_var.data.mul_(2)
                layer.weight.data[0] += 1


@pytest.mark.parametrize("training", [True, False])
def test_with_gradient_or_in_training_nothing_is_folded(training):
    results = []
    for fold in (False, True):
        layer = conv().train(training)
        layer.weight.requires_grad_(False)  # heads+bn: BatchNorm alone
        if fold:
            folded_batch_norm(nn.Sequential(layer))
        out = layer(torch.ones(2, 3, 9, 9).double().cumsum(3))
        out.square().sum().backward()
        results.append((out, layer.norm.weight.grad, layer.norm.running_mean))
    for plain, other in zip(*results, strict=True):
        assert torch.equal(plain, other)


def test_frozen_layers_are_folded_though_gradients_are_on():
    layer = conv().requires_grad_(False)
    folded_batch_norm(nn.Sequential(layer))
    layer.norm.forward = None  # must not be called
    assert layer(torch.randn(1, 3, 9, 9).double()).shape == (1, 5, 4, 4)


def test_another_norm_stays():
    frozen = Conv2d(3, 5, 3, norm=FrozenBatchNorm2d(5))
    folded_batch_norm(nn.Sequential(frozen))
    assert "forward" not in vars(frozen)
