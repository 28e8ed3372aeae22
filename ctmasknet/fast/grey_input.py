"""Grey images as one channel instead of three alike, for the ResNets' first convolution.

Channel c of a normalised image is (g - mean_c) / std_c, if g are its pixels: a multiple of
g - CENTRE, plus a constant. So the weights of the channels add up to those of one, and their
constants to a bias; taps beyond the border add nothing to it, as normalised images are 0 there.

Shapes: B images of H x W pixels, O channels out.
"""

from collections.abc import Sequence

import torch
from detectron2.layers import Conv2d
from detectron2.modeling.backbone.resnet import BasicStem
from detectron2.structures import ImageList
from torch import nn
from torch.nn import functional as F

from ..modeling import LesionRCNN
from ..modeling.precision import full_precision
from ..modeling.profiling import profiled
from .convolution import folded, norm_alone_learns
from .rebind import rebind

# Near ImageNet's means, so that the bias is small. Pixels less it are exact in bfloat16.
CENTRE = 116
# Side of an image with both borders and an inside, for 7 x 7 taps and stride 2.
_EDGE = 16


def grey_input(model: LesionRCNN) -> None:
    """Read batches of grey 8-bit images as one channel, on a CPU.

    Only where the first convolution's weights are fixed. float64 networks keep three channels, so
    that they can be compared with others to the last bit.
    """
    stem = getattr(getattr(model.backbone, "bottom_up", None), "stem", None)
    preprocess = type(model).preprocess_image
    if not isinstance(stem, BasicStem) or stem.in_channels != 3:
        return
    squares = model.backbone.padding_constraints.get("square_size", 0)
    if preprocess is not LesionRCNN.preprocess_image or squares:
        return
    conv = stem.conv1
    conv.mean_and_std = model.mean_and_std
    conv.three_channels = conv.forward
    rebind(conv, "forward", _forward)
    rebind(model, "extract_features", _extract_features, LesionRCNN)


def _extract_features(
    model: LesionRCNN, batched_inputs: list[dict]
) -> tuple[ImageList, dict[str, torch.Tensor]]:
    images = [x["image"] for x in batched_inputs]
    height, width = images[0].shape[-2:]
    step = max(model.backbone.size_divisibility, 1)
    padded = height % step or width % step or any(x.shape != images[0].shape for x in images)
    grey = None
    if not padded and _takes_grey(model.backbone.bottom_up.stem.conv1):
        with profiled("preprocess"):
            grey = grey_batch(images)
    if grey is None:
        return type(model).extract_features(model, batched_inputs)
    return ImageList(grey, [(height, width)] * len(images)), model.backbone(grey)


def _takes_grey(conv: Conv2d) -> bool:
    on_cpu_in_float32 = (conv.weight.device.type, conv.weight.dtype) == ("cpu", torch.float32)
    if not on_cpu_in_float32 or torch.jit.is_tracing():
        return False
    if torch.is_grad_enabled():
        return norm_alone_learns(conv)
    return conv.norm is None or type(conv.norm) is nn.BatchNorm2d and not conv.norm.training


def _forward(conv: Conv2d, x: torch.Tensor) -> torch.Tensor:
    if x.shape[1] == conv.in_channels:
        return conv.three_channels(x)
    if torch.is_grad_enabled():  # BatchNorm learns
        with torch.no_grad():
            x = convolve(conv, x, conv.weight)
        return conv.norm(x)
    return convolve(conv, x, *folded(conv))


def convolve(
    conv: Conv2d, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Convolve images with weights in place of the convolution's own, without norm.

    Args:
        conv: the ResNet's first.
        x: (B, 3, H, W), or (B, 1, H, W) of `grey_batch`.
        weight: (O, 3, 7, 7) float32.
        bias: (O,), or None.

    Returns:
        (B, O, H / 2, W / 2).
    """
    if x.shape[1] == conv.in_channels:
        return F.conv2d(x, weight, bias, conv.stride, conv.padding)
    return convolve_grey(x, weight, bias, *conv.mean_and_std)


def is_grey(image: torch.Tensor) -> bool:
    """Return whether an image (3, H, W) on the CPU is 8-bit and its channels are alike."""
    if len(image) != 3 or image.dtype != torch.uint8 or image.device.type != "cpu":
        return False
    first, *others = image.numpy()  # NumPy compares bytes faster than PyTorch
    return all(bool((first == other).all()) for other in others)


def grey_batch(images: list[torch.Tensor]) -> torch.Tensor | None:
    """Return what `convolve_grey` reads, or None if one of the images cannot be read so.

    Args:
        images: each (3, H, W), of one size.

    Returns:
        (B, 1, H, W) float32, pixels less CENTRE, if all `is_grey`, and H and W are even and 16 or
        more.
    """
    if any(side % 2 or side < _EDGE for side in images[0].shape[1:]):
        return None
    if not all(map(is_grey, images)):
        return None
    return torch.stack([x[:1] for x in images]).float().sub_(CENTRE)


def convolve_grey(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    mean: Sequence[float],
    std: Sequence[float],
) -> torch.Tensor:
    """Convolve the normalised images of a `grey_batch` with stride 2 and padding 3.

    Args:
        x: (B, 1, H, W).
        weight: (O, 3, 7, 7) float32.
        bias: (O,), or None.
        mean, std: of each channel, of pixels in 0..255.

    Returns:
        (B, O, H / 2, W / 2), channels last.
    """
    means, stds = (weight.new_tensor(values)[:, None, None] for values in (mean, std))
    grey = (weight / stds).sum(1, keepdim=True)
    constant = (weight * ((CENTRE - means) / stds)).sum(1, keepdim=True)
    with full_precision(weight.device):
        ones = weight.new_ones(1, 1, _EDGE, _EDGE)
        edge = F.conv2d(ones, constant, stride=2, padding=3)[0]  # rows 0, 1 and the last differ
    inside = edge[:, 3, 3]
    y = _convolve_one_channel(x, grey, inside if bias is None else inside + bias)
    columns = torch.arange(y.shape[3]).clamp(max=3)
    columns[-1] = edge.shape[2] - 1
    border = (edge - inside[:, None, None]).to(y.dtype)
    y[:, :, :2] += border[:, :2, columns]
    y[:, :, -1] += border[:, -1, columns]
    y[:, :, 2:-1, :2] += border[:, 3, None, :2]
    y[:, :, 2:-1, -1] += border[:, 3, -1:]
    return y


def _convolve_one_channel(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    if not torch.is_autocast_enabled("cpu"):
        # `to` makes the strides of channels last, too; `contiguous` leaves one channel as it is.
        x = x.to(memory_format=torch.channels_last)
        return F.conv2d(x, weight, bias, stride=2, padding=3)
    # Half precision is slow with one channel, but not with four: those of each 2 x 2 pixels.
    x = F.pad(x.to(torch.get_autocast_dtype("cpu")), (3, 3, 3, 3))
    x = F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)
    return F.conv2d(x, F.pixel_unshuffle(F.pad(weight, (0, 1, 0, 1)), 2), bias)
