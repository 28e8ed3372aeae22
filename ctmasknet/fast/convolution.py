"""Detectron2's convolutions, with less work where weights want no gradient."""

import torch
from detectron2.layers import Conv2d
from torch import nn
from torch.nn import functional as F

from ..modeling import LesionRCNN
from .rebind import rebind
from .winograd import convolve, convolve_frozen, winograd_wins


def channels_last(model: LesionRCNN) -> None:
    """Hand images to the backbone channels last, the layout that convolutions then keep."""
    model.backbone.register_forward_pre_hook(_to_channels_last)


def _to_channels_last(_, inputs: tuple) -> tuple:
    return (inputs[0].contiguous(memory_format=torch.channels_last),)


def folded_batch_norm(model: nn.Module) -> None:
    """Fold BatchNorm into the convolution before it.

    A product of each weight with its BatchNorm's factor is cheaper than a pass over the whole
    activation. It is made anew at each call, so weights may change at any time and threads may
    share the network.
    """
    for conv in _convolutions(model):
        conv.folds = True


def winograd(model: nn.Module) -> None:
    """Compute 3 x 3 convolutions in float32 by fewer multiplications, where that pays."""
    for conv in _convolutions(model):
        conv.by_winograd = True


def _convolutions(model: nn.Module) -> list[Conv2d]:
    """The convolutions without norm or with BatchNorm, with `_forward` in place of theirs."""
    found = [
        conv
        for conv in model.modules()
        if type(conv) is Conv2d and (conv.norm is None or type(conv.norm) is nn.BatchNorm2d)
    ]
    for conv in found:
        rebind(conv, "forward", _forward)
    return found


def _forward(conv: Conv2d, x: torch.Tensor) -> torch.Tensor:
    """As Conv2d; the same up to the rounding of its precision."""
    grad = torch.is_grad_enabled()
    if (conv.norm is not None and conv.norm.training) or (grad and conv.weight.requires_grad):
        return Conv2d.forward(conv, x)
    geometry = (conv.stride, conv.padding, conv.dilation, conv.groups)
    by_winograd = getattr(conv, "by_winograd", False) and winograd_wins(x, conv.weight, *geometry)
    # A gradient passes through, or BatchNorm or bias learn.
    passes = grad and (x.requires_grad or any(p.requires_grad for p in conv.parameters()))
    if getattr(conv, "folds", False) and not passes:
        weight, bias = folded(conv)
        x = convolve(x, weight, bias) if by_winograd else F.conv2d(x, weight, bias, *geometry)
    elif by_winograd:
        x = convolve_frozen(x, conv.weight) if passes else convolve(x, conv.weight)
        x = x if conv.bias is None else x + conv.bias[:, None, None]
        x = x if conv.norm is None else conv.norm(x)
    else:
        return Conv2d.forward(conv, x)
    return x if conv.activation is None else conv.activation(x)


def norm_alone_learns(conv: Conv2d) -> bool:
    """Return whether a convolution's BatchNorm, with fixed statistics, is all that may learn."""
    fixed = conv.bias is None and not conv.weight.requires_grad
    return fixed and type(conv.norm) is nn.BatchNorm2d and not conv.norm.training


def folded(conv: Conv2d) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return weight and bias that do what BatchNorm does, too."""
    norm = conv.norm
    if norm is None:
        return conv.weight, conv.bias
    factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
    shift = norm.bias - norm.running_mean * factor
    if conv.bias is not None:
        shift = shift + conv.bias * factor
    return conv.weight * factor[:, None, None, None], shift
