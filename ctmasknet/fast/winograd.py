"""3 x 3 convolutions by fewer multiplications (Winograd's F(4, 3)).

Four outputs of a filter of three taps take twelve multiplications one by one. As products of
polynomials, evaluated at six points and interpolated, they take six; along both axes, 36 instead of
144. Evaluation and interpolation are small matrices, shared by all channels. Source: Lavin and
Gray 2016, "Fast Algorithms for Convolutional Neural Networks".

Shapes: B images, C channels in, O out, H x W pixels, in tiles of 4 x 4 outputs from 6 x 6 inputs.
"""

import functools

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_TILE, _TAPS = 4, 3
_SIDE = _TILE + _TAPS - 1  # of a tile's input
# Infinity is the sixth. The usual 1 and 2 round twice as much; these are exact in binary, too.
_POINTS = (0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)
_CHANNELS = 128  # with fewer, the small matrices cost more than they save
_MEMORY = 2**22  # bytes of a part's input in tiles, for each thread; more falls out of the cache
# Bytes of transformed weights, made anew at each call. 256 x 256 channels take 9 MB in float32;
# larger ones were not measured.
_WEIGHTS = 2**24


def winograd_wins(
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> bool:
    """Whether `convolve` can compute this convolution, with fewer multiply-adds for one image.

    On a CPU, in float32 and float64: half precision has faster instructions of its own, and would
    round too much.

    Args:
        x: (B, C, H, W).
        weight: (O, C, kernel, kernel).
        stride, padding, dilation, groups: as of torch.nn.functional.conv2d.
    """
    return (
        not torch.jit.is_tracing()  # a trace is used for other sizes, and FLOP counters read it
        and x.device.type == "cpu"
        and x.dim() == 4
        and x.dtype == weight.dtype
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and weight.shape[2:] == (_TAPS, _TAPS)
        and (stride, padding, dilation, groups) == ((1, 1), (1, 1), (1, 1), 1)
        and min(weight.shape[:2]) >= _CHANNELS
        and _SIDE**2 * weight[:, :, 0, 0].numel() * weight.element_size() <= _WEIGHTS
        and _saves(x.shape[2], x.shape[3], *weight.shape[:2])
    )


def _saves(height: int, width: int, out: int, channels: int) -> bool:
    """Whether one image takes fewer multiply-adds; tiles at the border are partly empty."""
    tiles = -(-height // _TILE) * -(-width // _TILE)
    per_tile = _SIDE**2 * (_SIDE**2 * channels + channels * out + _TILE**2 * out)
    weights = _SIDE**2 * _TAPS**2 * channels * out
    return tiles * per_tile + weights < height * width * _TAPS**2 * channels * out


def convolve(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Equal `conv2d(x, weight, bias, padding=1)` up to rounding, in float32 by 1e-6 of its spread.

    Args:
        x: (B, C, H, W) float32 or float64.
        weight: (O, C, 3, 3) of the same dtype.
        bias: (O,).

    Returns:
        (B, O, H, W), channels last; a part of a larger tensor unless H and W are multiples of 4.
    """
    images, channels, height, width = x.shape
    out = len(weight)
    rows, columns = -(-height // _TILE), -(-width // _TILE)
    into_points, of_weights, from_points = _matrices(x.dtype)
    weight = (of_weights @ weight.flatten(2).flatten(0, 1).t()).view(-1, out, channels)
    weight = weight.transpose(1, 2)
    border = (0, 0, 1, columns * _TILE + 1 - width, 1, rows * _TILE + 1 - height)
    # (B, rows, columns, C, 6, 6), a view: tiles overlap.
    tiles = F.pad(x.permute(0, 2, 3, 1), border).unfold(1, _SIDE, _TILE).unfold(2, _SIDE, _TILE)
    y = x.new_empty(images, rows, _TILE, columns, _TILE, out)
    at_a_time = _MEMORY * torch.get_num_threads() // (_SIDE**2 * channels * x.element_size())
    some_rows, some_images = max(1, at_a_time // columns), max(1, at_a_time // (rows * columns))
    for i in range(0, images, some_images):
        for row in range(0, rows, some_rows):
            part = slice(i, i + some_images), slice(row, row + some_rows)
            inputs = tiles[part].permute(4, 5, 0, 1, 2, 3)
            points = (into_points @ inputs.reshape(_SIDE**2, -1)).view(_SIDE**2, -1, channels)
            found = from_points @ (points @ weight).view(_SIDE**2, -1)
            found = found.view(_TILE, _TILE, *inputs.shape[2:5], out)
            y[part].copy_(found.permute(2, 3, 0, 4, 1, 5))
    y = y.view(images, rows * _TILE, columns * _TILE, out)[:, :height, :width]
    return (y if bias is None else y.add_(bias)).permute(0, 3, 1, 2)


def convolve_frozen(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """As `convolve` without bias, with a gradient (first derivatives) for x alone."""
    return _ConvolveFrozen.apply(x, weight)


class _ConvolveFrozen(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(weight)
        return convolve(x, weight).detach()  # no view any more: it may be changed in place

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (weight,) = ctx.saved_tensors
        return convolve(gradient, weight.flip(2, 3).transpose(0, 1)), None


@functools.cache
@torch.inference_mode(False)  # they also serve training
def _matrices(dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """For both axes: (36, 36) of inputs to points, (36, 9) of weights, (16, 36) back to outputs."""
    points = np.array(_POINTS)
    others = [np.delete(points, i) for i in range(len(points))]

    def powers(count: int) -> np.ndarray:  # of each point; of infinity, the highest alone
        return np.vstack([np.vander(points, count, increasing=True), np.eye(count)[-1]])

    into = np.zeros((_SIDE, _SIDE))
    for i, roots in enumerate(others):  # Lagrange's polynomials, but for their scale
        into[i, :-1] = np.poly(roots)[::-1]
    into[-1] = np.poly(points)[::-1]
    scale = [*(np.prod(p - q) for p, q in zip(points, others, strict=True)), 1]
    weights = powers(_TAPS) / np.array(scale)[:, None]
    both = (into, weights, powers(_TILE).T)
    return tuple(torch.from_numpy(np.kron(one, one)).to(dtype) for one in both)
