"""Detectron2's convolutions, with less work wherever weights want no gradient."""

import torch
from detectron2.layers import Conv2d
from torch import nn
from torch.nn import functional as F

from .winograd import convolve, convolve_frozen, winograd_wins


class LeanConv2d(Conv2d):
    """Detectron2's convolution with BatchNorm folded in, and fewer multiplications where that pays.

    A product of each weight with its BatchNorm's factor is cheaper than a pass over the whole
    activation. It is made anew at each call, so weights may change at any time and threads may
    share the network; names and values in checkpoints stay as they are.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As Conv2d; the same up to the rounding of its precision."""
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        grad = torch.is_grad_enabled()
        if (self.norm is not None and self.norm.training) or (grad and self.weight.requires_grad):
            return super().forward(x)  # it learns
        if grad and (x.requires_grad or any(p.requires_grad for p in self.parameters())):
            # A gradient passes through, or BatchNorm or bias learn.
            if not winograd_wins(x, self.weight, *geometry):
                return super().forward(x)
            x = convolve_frozen(x, self.weight)
            x = x if self.bias is None else x + self.bias[:, None, None]
            x = x if self.norm is None else self.norm(x)
        else:
            weight, bias = self.folded()
            if winograd_wins(x, weight, *geometry):
                x = convolve(x, weight, bias)
            else:
                x = F.conv2d(x, weight, bias, *geometry)
        return x if self.activation is None else self.activation(x)

    def folded(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight and bias that do what BatchNorm does, too."""
        norm = self.norm
        if norm is None:
            return self.weight, self.bias
        factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * factor
        if self.bias is not None:
            shift = shift + self.bias * factor
        return self.weight * factor[:, None, None, None], shift


def use_lean_convolutions(network: nn.Module) -> None:
    """Let the convolutions of a network without norm, or with BatchNorm, be lean ones.

    Parameters do not change.
    """
    for module in network.modules():
        if type(module) is Conv2d and (module.norm is None or type(module.norm) is nn.BatchNorm2d):
            module.__class__ = LeanConv2d
