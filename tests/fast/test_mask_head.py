from types import SimpleNamespace

import pytest
import torch
from detectron2.layers import ShapeSpec

from ctmasknet.fast import mask_head
from ctmasknet.modeling import MaskLogitHead


@pytest.mark.parametrize("most", [2**23, 2 * 4 * 8 * 14 * 14 * 4, 1])
def test_parts_of_the_instances_are_the_whole(monkeypatch, most):
    torch.manual_seed(0)
    shape = ShapeSpec(channels=4, height=14, width=14)
    head = MaskLogitHead(shape, num_classes=2, conv_dims=[8, 8]).eval()
    x = torch.randn(5, 4, 14, 14)
    with torch.no_grad():
        expected = head.layers(x)
        monkeypatch.setattr(mask_head, "_MEMORY", most)  # all, two and one of the instances
        mask_head.linear_upsampling(SimpleNamespace(roi_heads=SimpleNamespace(mask_head=head)))
        found, none = head.layers(x), head.layers(x[:0])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert none.shape == (0, 2, 28, 28)
