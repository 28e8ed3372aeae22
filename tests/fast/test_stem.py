from types import SimpleNamespace

import pytest
import torch
from detectron2.modeling.backbone.resnet import BasicStem

from ctmasknet.fast import microbatches
from ctmasknet.fast.stem import pooled_stem


def stems():
    torch.manual_seed(0)
    stock = BasicStem().double().eval()
    torch.nn.init.normal_(stock.conv1.norm.bias)
    ours = BasicStem().double().eval()
    ours.load_state_dict(stock.state_dict())
    pooled_stem(SimpleNamespace(backbone=ours))
    return stock, ours


def test_values_and_gradients_are_the_stock_stems():
    results = []
    for stem in stems():
        x = torch.randn(2, 3, 32, 40, generator=torch.Generator().manual_seed(1)).double()
        out = stem(x.requires_grad_())
        out.square().sum().backward()
        results.append((out.detach(), x.grad, stem.conv1.weight.grad))
    for stock, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, stock, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("most", [2**25, 1])
def test_few_images_at_a_time_are_all_images(monkeypatch, most):
    monkeypatch.setattr(microbatches, "_MAX_BYTES", most)
    stock, ours = stems()
    calls = []
    ours.conv1.register_forward_hook(lambda _, args, out: calls.append(len(args[0])))
    x = torch.randn(3, 3, 32, 40).double()
    with torch.no_grad():
        torch.testing.assert_close(ours(x), stock(x), rtol=1e-12, atol=1e-12)
    assert calls == ([3] if most > 1 else [1, 1, 1])


def saved_bytes(run):
    total = []

    def pack(x):
        total.append(x.numel() * x.element_size())
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = run()
    return out, sum(total)


def test_where_batchnorm_alone_learns_it_sees_a_quarter_of_the_values():
    results, kept = [], []
    for stem in stems():
        stem.conv1.weight.requires_grad_(False)
        torch.nn.init.normal_(stem.conv1.norm.weight, generator=torch.Generator().manual_seed(2))
        x = torch.randn(2, 3, 32, 40, generator=torch.Generator().manual_seed(1)).double()
        out, saved = saved_bytes(lambda stem=stem, x=x: stem(x))
        out.square().sum().backward()
        norm = stem.conv1.norm
        assert norm.weight.min() < 0 < norm.weight.max()
        results.append((out.detach(), norm.weight.grad, norm.bias.grad))
        kept.append(saved)
    for stock, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, stock, rtol=1e-12, atol=1e-12)
    assert kept[1] < kept[0] / 3


def test_batchnorm_that_follows_the_images_sees_all_values():
    results = []
    for stem in stems():
        stem.train().conv1.weight.requires_grad_(False)
        stem(torch.linspace(-1, 1, 3 * 32 * 40).view(1, 3, 32, 40).double()).sum().backward()
        results.append((stem.conv1.norm.running_mean, stem.conv1.norm.weight.grad))
    for stock, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, stock, rtol=1e-12, atol=1e-12)
