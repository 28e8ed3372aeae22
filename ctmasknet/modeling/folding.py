"""BatchNorm folded into its convolution wherever no gradient is wanted."""

import torch
from detectron2.layers import Conv2d
from torch import nn
from torch.nn import functional as F


class FoldingConv2d(Conv2d):
    """Detectron2's convolution with BatchNorm, as one convolution where statistics are fixed.

    A product of each weight with its BatchNorm's factor is cheaper than a pass over the whole
    activation. It is made anew at each call, so weights may change at any time and threads may
    share the network; names and values in checkpoints stay as they are.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As Conv2d; the same up to the rounding of its precision."""
        norm = self.norm
        parameters = (x, self.weight, norm.weight, norm.bias)
        if norm.training or (
            torch.is_grad_enabled() and any(tensor.requires_grad for tensor in parameters)
        ):
            return super().forward(x)
        factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * factor
        if self.bias is not None:
            shift = shift + self.bias * factor
        weight = self.weight * factor[:, None, None, None]
        x = F.conv2d(x, weight, shift, self.stride, self.padding, self.dilation, self.groups)
        return x if self.activation is None else self.activation(x)


def fold_norms(network: nn.Module) -> None:
    """Let every convolution with BatchNorm of a network fold it; parameters do not change."""
    for module in network.modules():
        if type(module) is Conv2d and type(module.norm) is nn.BatchNorm2d:
            module.__class__ = FoldingConv2d
