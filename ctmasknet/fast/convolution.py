"""Detectron2's convolutions, with less work where weights want no gradient."""

import torch
from detectron2.layers import Conv2d
from torch import nn
from torch.nn import functional as F

from ..modeling import LesionRCNN
from .rebind import rebind


def channels_last(model: LesionRCNN) -> None:
    """Hand images to the backbone in the layout that its convolutions are fast in, and then keep.

    That is channels last, but for weights that learn in float32 on a CPU: oneDNN takes three times
    as long for their gradients in that layout (measured with AVX2).
    """
    model.backbone.register_forward_pre_hook(_to_fast_layout)


def _to_fast_layout(backbone: nn.Module, inputs: tuple) -> tuple:
    channels_first = weights_learn_in_float32(backbone, inputs[0])
    layout = torch.contiguous_format if channels_first else torch.channels_last
    return (inputs[0].contiguous(memory_format=layout),)


def weights_learn_in_float32(module: nn.Module, x: torch.Tensor) -> bool:
    """Return whether gradients of convolution weights will be computed in float32 on a CPU."""
    if x.device.type != "cpu" or not torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    return any(p.requires_grad and p.dim() == 4 for p in module.parameters())


def folded_batch_norm(model: nn.Module) -> None:
    """Fold BatchNorm into the convolution before it.

    A product of each weight with its BatchNorm's factor is cheaper than a pass over the whole
    activation. It is made anew at each call, so weights may change at any time and threads may
    share the network.
    """
    for conv in model.modules():
        if type(conv) is Conv2d and type(conv.norm) is nn.BatchNorm2d:
            # The first one may read grey images already.
            name = "three_channels" if hasattr(conv, "three_channels") else "forward"
            rebind(conv, name, _forward)


def _forward(conv: Conv2d, x: torch.Tensor) -> torch.Tensor:
    """As Conv2d; the same up to the rounding of its precision."""
    learns = x.requires_grad or any(p.requires_grad for p in conv.parameters())
    if conv.norm.training or torch.is_grad_enabled() and learns:
        return Conv2d.forward(conv, x)
    weight, bias = folded(conv)
    x = F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
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
