"""3 x 3 convolutions by fewer multiplications (Winograd's F(4, 3)).

Four outputs of a filter of three taps take twelve multiplications one by one. As products of
polynomials, evaluated at six points and interpolated, they take six; along both axes, 36 instead of
144. Evaluation and interpolation are small matrices, shared by all channels. Source: Lavin and
Gray 2016, "Fast Algorithms for Convolutional Neural Networks".

Shapes: B images, C channels in, O out, H x W pixels, T tiles of an image with 4 x 4 outputs each.
"""

import functools

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_OUT, _TAPS = 4, 3
_SIDE = _OUT + _TAPS - 1  # of a tile's input
# Infinity is the sixth. The usual 1 and 2 round twice as much; these are exact in binary, too.
_POINTS = (0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)
_CHANNELS = 128  # with fewer, the small matrices cost more than they save
_MEMORY = 2**22  # bytes of a part's input in tiles, for each thread; more falls out of the cache


def winograd_wins(x: torch.Tensor, weight: torch.Tensor, stride, padding, dilation, groups) -> bool:
    """Whether `convolve` computes this convolution, and faster than PyTorch does.

    On a CPU, in float32 and float64: half precision has faster instructions of its own, and would
    round too much.

    Args:
        x: (B, C, H, W).
        weight: (O, C, kernel, kernel).
        stride, padding, dilation, groups: as of torch.nn.functional.conv2d, in pairs.
    """
    return (
        not torch.jit.is_tracing()  # a trace serves other sizes, and is what one counts by
        and x.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and weight.shape[2:] == (_TAPS, _TAPS)
        and (stride, padding, dilation, groups) == ((1, 1), (1, 1), (1, 1), 1)
        and min(weight.shape[:2]) >= _CHANNELS
        and _saves(x.shape, weight.shape[0])
    )


def _saves(shape: torch.Size, out: int) -> bool:
    """Whether tiles, of which some may be mostly border, and weights take fewer multiply-adds."""
    images, channels, height, width = shape
    tiles = images * -(-height // _OUT) * -(-width // _OUT)
    squares = _SIDE**2 * (_SIDE**2 * channels + channels * out + _OUT**2 * out)
    weights = _SIDE**2 * _TAPS**2 * channels * out
    return tiles * squares + weights < images * height * width * _TAPS**2 * channels * out


def convolve(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Equal `conv2d(x, weight, bias, padding=1)` up to rounding, in float32 by 1e-6 of its values.

    Args:
        x: (B, C, H, W) float32 or float64.
        weight: (O, C, 3, 3) of the same dtype.
        bias: (O,).

    Returns:
        (B, O, H, W), channels last.
    """
    images, channels, height, width = x.shape
    out = len(weight)
    rows, columns = -(-height // _OUT), -(-width // _OUT)
    into_points, of_weights, from_points = _matrices(x.dtype)
    weight = (of_weights @ weight.flatten(2).flatten(0, 1).t()).view(-1, out, channels)
    weight = weight.transpose(1, 2)
    more = (0, 0, 1, columns * _OUT + 1 - width, 1, rows * _OUT + 1 - height)
    # (B, rows, columns, C, 6, 6), a view: tiles overlap.
    tiles = F.pad(x.permute(0, 2, 3, 1), more).unfold(1, _SIDE, _OUT).unfold(2, _SIDE, _OUT)
    y = x.new_empty(images, rows, _OUT, columns, _OUT, out)
    most = _MEMORY * torch.get_num_threads() // (_SIDE**2 * channels * x.element_size())
    few_rows, few_images = max(1, most // columns), max(1, most // (rows * columns))
    for i in range(0, images, few_images):
        for row in range(0, rows, few_rows):
            part = slice(i, i + few_images), slice(row, row + few_rows)
            squares = tiles[part].permute(4, 5, 0, 1, 2, 3)
            points = (into_points @ squares.reshape(_SIDE**2, -1)).view(_SIDE**2, -1, channels)
            found = from_points @ (points @ weight).view(_SIDE**2, -1)
            found = found.view(_OUT, _OUT, *squares.shape[2:5], out)
            y[part].copy_(found.permute(2, 3, 0, 4, 1, 5))
    y = y.view(images, rows * _OUT, columns * _OUT, out)[:, :height, :width]
    return (y if bias is None else y.add_(bias)).permute(0, 3, 1, 2)


def convolve_through(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """As `convolve` without bias, with a gradient (first derivatives) for x alone."""
    return _ConvolveThrough.apply(x, weight)


class _ConvolveThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(weight)
        return convolve(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (weight,) = ctx.saved_tensors
        return convolve(gradient, weight.flip(2, 3).transpose(0, 1)), None


@functools.cache
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
    both = (into, weights, powers(_OUT).T)
    return tuple(torch.from_numpy(np.kron(one, one)).to(dtype) for one in both)
