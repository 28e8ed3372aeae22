"""The ResNets' first layers, where activations are largest."""

from collections.abc import Sequence
from functools import partial

import torch
from detectron2.modeling.backbone.resnet import BasicStem
from torch import nn
from torch.nn import functional as F

from .convolution import LeanConv2d
from .grey_input import grey_convolution
from .image_groups import STEM_VALUES, fitting_images


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
        """Whether `forward` now also takes what `grey_batch` makes."""
        weight = self.conv1.weight
        return (
            len(self.pixels[0]) == self.in_channels > 1
            and isinstance(self.conv1, LeanConv2d)
            # In float64 networks are compared with others, to the last bit.
            and (weight.device.type, weight.dtype) == ("cpu", torch.float32)
            and not torch.jit.is_tracing()
            and not self._learns
        )

    @property
    def _learns(self) -> bool:
        """Whether the weights do, or BatchNorm's statistics."""
        norm = self.conv1.norm
        weights = torch.is_grad_enabled() and self.conv1.weight.requires_grad
        return weights or (norm is not None and norm.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W), or (B, 1, H, W) of `grey_batch`, to (B, channels, H / 4, W / 4)."""
        norm = self.conv1.norm
        if not torch.is_grad_enabled():
            return F.relu_(self._in_parts(x))
        if self._learns or x.requires_grad or type(norm) is not nn.BatchNorm2d:
            return F.relu_(_pooled(self.conv1(x)))
        # The largest of what BatchNorm makes of a window is what it makes of the window's largest
        # value, or least, if its factor is negative. So it gets, and keeps, a quarter of them.
        with torch.no_grad():
            sign = torch.where(norm.weight < 0, -1.0, 1.0).to(norm.weight)[:, None, None]
            chosen = self._in_parts(x, self.conv1.weight * sign[:, None])
            chosen.mul_(sign.to(chosen.dtype))
        return F.relu_(norm(chosen))

    def _in_parts(self, x: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Convolved, with BatchNorm unless other weights are given, and pooled."""
        if x.shape[1] != self.in_channels:
            weight, bias = self.conv1.folded() if weight is None else (weight, None)
            convolve = grey_convolution(weight, bias, *self.pixels)
        elif weight is None:
            convolve = self.conv1
        else:
            geometry = {"stride": self.conv1.stride, "padding": self.conv1.padding}
            convolve = partial(F.conv2d, weight=weight, **geometry)
        if x.device.type != "cpu":
            return _pooled(convolve(x))
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        parts = x.split(fitting_images(x.shape[2], x.shape[3], STEM_VALUES, dtype))
        return torch.cat([_pooled(convolve(part)) for part in parts])


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
            setattr(module, "pixels", (mean, std))  # noqa: B010, for mypy it is a BasicStem still
