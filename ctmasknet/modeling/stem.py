"""The ResNets' first layers, where activations are largest."""

import torch
from detectron2.modeling.backbone.resnet import BasicStem
from torch import nn
from torch.nn import functional as F

from .image_groups import STEM_VALUES, fitting_images


class PoolingStem(BasicStem):
    """Detectron2's stem that pools before the ReLU, which is the same on a quarter of the values.

    On a CPU and without gradient it takes few images at a time; see image_groups.py.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, channels, H / 4, W / 4)."""
        if torch.is_grad_enabled() or x.device.type != "cpu":
            return self._pooled(x)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        parts = x.split(fitting_images(x.shape[2], x.shape[3], STEM_VALUES, dtype))
        return torch.cat([self._pooled(part) for part in parts])

    def _pooled(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu_(F.max_pool2d(self.conv1(x), kernel_size=3, stride=2, padding=1))


def use_pooling_stem(network: nn.Module) -> None:
    """Let a network's stem pool before its ReLU; parameters do not change."""
    for module in network.modules():
        if type(module) is BasicStem:
            module.__class__ = PoolingStem
