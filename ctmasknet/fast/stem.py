"""The ResNets' first layers, where activations are largest."""

import torch
from detectron2.modeling.backbone.resnet import BasicStem
from torch.nn import functional as F

from ..modeling import LesionRCNN
from .convolution import norm_alone_learns
from .grey_input import convolve
from .microbatches import STEM_VALUES, fitting_images
from .rebind import rebind


def pooled_stem(model: LesionRCNN) -> None:
    """Pool before the ReLU, which is the same on a quarter of the values.

    Where BatchNorm alone learns, it pools before BatchNorm, too. On a CPU and without gradient it
    takes few images at a time; see microbatches.py.
    """
    for stem in model.backbone.modules():
        if type(stem) is BasicStem:
            rebind(stem, "forward", _forward)


def _forward(stem: BasicStem, x: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W), or (B, 1, H, W) of `grey_batch`, to (B, channels, H / 4, W / 4)."""
    conv, norm = stem.conv1, stem.conv1.norm
    if norm is not None and norm.training:  # its statistics are of the whole batch
        return F.relu_(_pooled(conv(x)))
    if not torch.is_grad_enabled():
        return F.relu_(_pooled_in_parts(conv, x))
    if x.requires_grad or not norm_alone_learns(conv):
        return F.relu_(_pooled(conv(x)))
    # BatchNorm rises with its input, or falls where its factor is negative. So pooling before it,
    # for the least value there, is the same, and a quarter of the values is kept for its gradient.
    with torch.no_grad():
        sign = torch.where(norm.weight < 0, -1.0, 1.0)[:, None, None]
        weight = conv.weight * sign[:, None]
        chosen = _pooled_in_parts(lambda part: convolve(conv, part, weight), x)
        chosen.mul_(sign.to(chosen.dtype))
    return F.relu_(norm(chosen))


def _pooled_in_parts(convolution, x: torch.Tensor) -> torch.Tensor:
    if x.device.type != "cpu":
        return _pooled(convolution(x))
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    parts = x.split(fitting_images(x.shape[2], x.shape[3], STEM_VALUES, dtype))
    return torch.cat([_pooled(convolution(part)) for part in parts])


def _pooled(x: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
