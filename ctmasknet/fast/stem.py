"""The ResNets' first layers, where activations are largest."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from detectron2.modeling.backbone.resnet import BasicStem
from torch import nn
from torch.nn import functional as F

from .convolution import LeanConv2d
from .grey_input import grey_convolution, three_channels
from .microbatches import STEM_VALUES, fitting_images


class PoolingStem(BasicStem):
    """Detectron2's stem that pools before the ReLU, which is the same on a quarter of the values.

    Where BatchNorm alone learns, it pools before BatchNorm, too. On a CPU and without gradient it
    takes few images at a time; see image_groups.py.

    Attributes:
        pixels: each channel's mean and standard deviation, in 0..255, by which images are
            normalised; without them none are taken as grey.
    """

    pixels: tuple[Sequence[float], Sequence[float]] = ((), ())

    @property
    def takes_grey(self) -> bool:
        """Whether `forward` also takes what `grey_batch` makes, and gains by it."""
        weight = self.conv1.weight
        return (
            len(self.pixels[0]) == self.in_channels == 3
            and isinstance(self.conv1, LeanConv2d)
            # float64 networks are compared with others to the last bit.
            and (weight.device.type, weight.dtype) == ("cpu", torch.float32)
            and not torch.jit.is_tracing()
            and (self._norm_alone_learns if torch.is_grad_enabled() else not self._follows)
        )

    @property
    def _follows(self) -> bool:
        """Whether BatchNorm normalises by the images at hand."""
        return self.conv1.norm is not None and self.conv1.norm.training

    @property
    def _norm_alone_learns(self) -> bool:
        """Whether BatchNorm at most does, and not by the images at hand."""
        convolution = self.conv1
        fixed = convolution.bias is None and not convolution.weight.requires_grad
        return fixed and type(convolution.norm) is nn.BatchNorm2d and not self._follows

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W), or (B, 1, H, W) of `grey_batch`, to (B, channels, H / 4, W / 4)."""
        convolution, norm = self.conv1, self.conv1.norm
        is_grey = x.shape[1] == 1 < self.in_channels
        if is_grey and (x.requires_grad or not self.takes_grey):
            x, is_grey = three_channels(x, *self.pixels), False
        if not torch.is_grad_enabled():
            if is_grey:
                weight, bias = convolution.folded()
                convolution = grey_convolution(weight, bias, *self.pixels)
            return F.relu_(_in_parts(convolution, x))
        if x.requires_grad or not self._norm_alone_learns:
            return F.relu_(_pooled(convolution(x)))
        # BatchNorm rises with its input, or falls where its factor is negative. So pooling before
        # it, for the least value there, is the same, and it keeps a quarter of the values.
        with torch.no_grad():
            sign = torch.where(norm.weight < 0, -1.0, 1.0)[:, None, None]
            weight = convolution.weight * sign[:, None]
            stride, padding = convolution.stride, convolution.padding
            chosen = _in_parts(
                grey_convolution(weight, None, *self.pixels)
                if is_grey
                else partial(F.conv2d, weight=weight, stride=stride, padding=padding),
                x,
            )
            chosen.mul_(sign.to(chosen.dtype))
        return F.relu_(norm(chosen))


def _in_parts(convolution: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Convolved and pooled."""
    if x.device.type != "cpu":
        return _pooled(convolution(x))
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    parts = x.split(fitting_images(x.shape[2], x.shape[3], STEM_VALUES, dtype))
    return torch.cat([_pooled(convolution(part)) for part in parts])


def _pooled(x: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)


def use_pooling_stem(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
    """Let a network's stem pool before its ReLU; parameters do not change.

    Args:
        network: its stem, if any, is Detectron2's.
        mean, std: by which its images are normalised, one number for each channel, in 0..255.
    """
    for module in network.modules():
        if type(module) is BasicStem:
            module.__class__ = PoolingStem
            assert isinstance(module, PoolingStem)  # for mypy
            module.pixels = mean, std
