"""Grey images as one channel instead of three alike, for the ResNets' first convolution.

Channel c of a normalised image is (g - mean_c) / std_c, if g are its pixels: a multiple of
g - CENTRE, plus a constant. So the weights of the channels add up to those of one, and their
constants to a bias; taps beyond the border add nothing to it, as normalised images are 0 there.

Shapes: B images of H x W pixels, O channels out.
"""

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional as F

from ..modeling.precision import full_precision

# Near ImageNet's means, so that the bias is small. Pixels less it are exact in bfloat16.
CENTRE = 116
# Side of an image with both borders and an inside, for 7 x 7 taps and stride 2.
_EDGE = 16


def is_grey(image: torch.Tensor) -> bool:
    """Whether an image (3, H, W) on the CPU is 8-bit and its channels are alike."""
    if len(image) != 3 or image.dtype != torch.uint8 or image.device.type != "cpu":
        return False
    first, *others = image.numpy()  # NumPy compares bytes faster than PyTorch
    return all(bool((first == other).all()) for other in others)


def grey_batch(images: list[torch.Tensor]) -> torch.Tensor | None:
    """What a `grey_convolution` reads, or None if one of the images cannot be read so.

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


def three_channels(x: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """The normalised images (B, 3, H, W) of a `grey_batch`."""
    means, stds = (x.new_tensor(values)[:, None, None] for values in (mean, std))
    return (x + CENTRE - means) / stds


def grey_convolution(
    weight: torch.Tensor, bias: torch.Tensor | None, mean: Sequence[float], std: Sequence[float]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """A convolution of normalised images, stride 2 and padding 3, for those of `grey_batch`.

    Args:
        weight: (O, 3, 7, 7) float32.
        bias: (O,), or None.
        mean, std: of each channel, of pixels in 0..255.

    Returns:
        A function from (B, 1, H, W) to (B, O, H / 2, W / 2), channels last.
    """
    means, stds = (weight.new_tensor(values)[:, None, None] for values in (mean, std))
    grey = (weight / stds).sum(1, keepdim=True)
    constant = (weight * ((CENTRE - means) / stds)).sum(1, keepdim=True)
    with full_precision(weight.device):
        ones = weight.new_ones(1, 1, _EDGE, _EDGE)
        edge = F.conv2d(ones, constant, stride=2, padding=3)[0]  # rows 0, 1 and the last differ
    inside = edge[:, 3, 3]
    edge = edge - inside[:, None, None]
    shift = inside if bias is None else inside + bias

    def convolve(x: torch.Tensor) -> torch.Tensor:
        y = _convolve(x, grey, shift)
        columns = torch.arange(y.shape[3]).clamp(max=3)
        columns[-1] = edge.shape[2] - 1
        border = edge.to(y.dtype)
        y[:, :, :2] += border[:, :2, columns]
        y[:, :, -1] += border[:, -1, columns]
        y[:, :, 2:-1, :2] += border[:, 3, None, :2]
        y[:, :, 2:-1, -1] += border[:, 3, -1:]
        return y

    return convolve


def _convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    if not torch.is_autocast_enabled("cpu"):
        # `to` makes the strides of channels last, too; `contiguous` leaves one channel as it is.
        x = x.to(memory_format=torch.channels_last)
        return F.conv2d(x, weight, bias, stride=2, padding=3)
    # Half precision is slow with one channel, but not with four: those of each 2 x 2 pixels.
    x = F.pad(x.to(torch.get_autocast_dtype("cpu")), (3, 3, 3, 3))
    x = F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)
    return F.conv2d(x, F.pixel_unshuffle(F.pad(weight, (0, 1, 0, 1)), 2), bias)
