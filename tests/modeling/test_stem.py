import pytest
import torch
from detectron2.modeling.backbone.resnet import BasicStem

from ctmasknet.modeling import image_groups
from ctmasknet.modeling.stem import PoolingStem


def stems():
    torch.manual_seed(0)
    stock = BasicStem().double().eval()
    torch.nn.init.normal_(stock.conv1.norm.bias)
    ours = PoolingStem().double().eval()
    ours.load_state_dict(stock.state_dict())
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
    monkeypatch.setattr(image_groups, "_MAX_BYTES", most)
    stock, ours = stems()
    calls = []
    ours.conv1.register_forward_hook(lambda _, args, out: calls.append(len(args[0])))
    x = torch.randn(3, 3, 32, 40).double()
    with torch.no_grad():
        torch.testing.assert_close(ours(x), stock(x), rtol=1e-12, atol=1e-12)
    assert calls == ([3] if most > 1 else [1, 1, 1])
