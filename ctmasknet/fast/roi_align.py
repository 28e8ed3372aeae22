"""RoIAlign as two matrix products.

Bilinear samples on a regular grid are separable: a RoI's pooled values are Y F X', where F is the
feature map, row i of Y has the weights with which its rows enter bin i, and X is the same for
columns. torchvision's kernel gathers value by value on one thread of a CPU; matrices take all
threads, in any precision, and their gradient is two matrices as well.

Shapes: B images, R RoIs, C channels, H x W cells of the feature map, P bins along an axis.
"""

import functools

import torch
from detectron2.layers import ROIAlign

from ..modeling import LesionRCNN
from ..modeling.roi_heads import PreciseROIAlign
from .rebind import rebind

# Cells of the largest map on which matrices win: they touch every cell, also those far from the
# RoI (docs/performance.md).
MAX_CELLS = 64 * 64
_MEMORY = 2**24  # bytes of intermediate values; more falls out of the cache


def separable_roi_align(model: LesionRCNN) -> None:
    """Pool RoIs by matrices on a CPU where they win, with its gradient.

    Values and gradient differ from torchvision's by rounding alone (tested to 1e-5). Half precision
    stays in the features: coordinates are never rounded to it.
    """
    for align in model.roi_heads.modules():
        if type(align) is PreciseROIAlign:
            rebind(align, "forward", _forward)


def _forward(align: ROIAlign, input: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
    fits = len(rois) > 0 and input.shape[2] * input.shape[3] <= MAX_CELLS
    if fits and input.device.type == "cpu" and is_separable(align):
        return _by_matrices(align, input, rois)
    return type(align).forward(align, input, rois)


def is_separable(align: ROIAlign) -> bool:
    """Return whether it has as many samples along y as along x, the same for all RoIs."""
    return align.sampling_ratio > 0 and align.output_size[0] == align.output_size[1]


def sampling(align: ROIAlign, rois: torch.Tensor, size: tuple[int, int]) -> "Samples":
    """Return where the samples of RoIs lie along y and along x.

    Args:
        align: the pooling, separable.
        rois: (R, 5) float: image in the batch, then x0 y0 x1 y1 in pixels of the input image.
        size: (H, W).
    """
    # All in torchvision's order of rounding.
    start, end = (
        rois[:, columns].T * align.spatial_scale - (0.5 if align.aligned else 0.0)
        for columns in ([2, 1], [4, 3])
    )
    length = end - start
    if not align.aligned:
        length = length.clamp(min=1)
    bin_size = (length / align.output_size[0])[:, :, None, None]
    bins, steps = (
        torch.arange(n, dtype=rois.dtype, device=rois.device)
        for n in (align.output_size[0], align.sampling_ratio)
    )
    steps = (steps + 0.5) * bin_size / len(steps)
    return Samples(start[:, :, None, None] + bins[:, None] * bin_size + steps, size)


def _by_matrices(align: ROIAlign, input: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
    channels, height, width = input.shape[1:]
    by_row, by_column = (
        matrix.to(input.dtype) for matrix in sampling(align, rois, (height, width)).matrices()
    )
    # (H, W * C): channels-last, as convolutions leave it, needs no copy.
    maps = input.permute(0, 2, 3, 1).flatten(2)
    row_bytes = align.output_size[0] * width * channels * input.element_size()
    step = max(1, _MEMORY // row_bytes)  # RoIs at a time
    order = rois[:, 0].argsort(stable=True)
    images, counts = rois[order, 0].unique_consecutive(return_counts=True)
    pooled = []
    for image, mine in zip(images.long().tolist(), order.split(counts.tolist()), strict=True):
        for part in mine.split(step):
            rows = (by_row[part].flatten(0, 1) @ maps[image]).view(len(part), -1, width, channels)
            pooled.append(by_column[part][:, None] @ rows)
    found = torch.cat(pooled)
    # RoIs that came by image are in order already; the gradient of indexing costs time.
    if not order.equal(torch.arange(len(order), device=order.device)):
        found = found[order.argsort()]
    return found.permute(0, 3, 1, 2)  # (R, P, P, C) seen as (R, C, P, P)


class Samples:
    """Samples of RoIs along y and x of a feature map, and the cells they are interpolated from.

    Attributes:
        place: (2, R, P, S) in cells, moved into the map; S samples in a bin.
        share: (2, R, P, S) 1 / S, or 0 for a sample more than a cell outside, which counts as 0.
        size: (H, W).
    """

    def __init__(self, place: torch.Tensor, size: tuple[int, int]):
        """Move samples into the map.

        Args:
            place: (2, R, P, S) float, in cells.
            size: (H, W).
        """
        self.size = size
        self._cells = torch.tensor(size, device=place.device)[:, None, None, None]
        inside = (place >= -1) & (place <= self._cells)
        self.share = inside.to(place.dtype) / place.shape[3]
        self.place = place.clamp(min=0).minimum(self._cells.to(place.dtype) - 1)

    def matrices(self) -> list[torch.Tensor]:
        """(R, P, H) and (R, P, W): with which weight each row, and column, enters each bin."""
        return [
            _weights(place, share, torch.arange(cells, device=place.device))
            for place, share, cells in zip(self.place, self.share, self.size, strict=True)
        ]

    def windows(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The few rows, and columns, that enter each bin.

        Returns:
            (2, R, P, n) int64 cells in the map, and their weights; n is the most of any bin.
        """
        lowest = self.place.floor()
        first = lowest.amin(dim=3, keepdim=True)
        span = int((lowest - first).max()) + 2 if first.numel() else 1
        cells = first + torch.arange(span, device=first.device)
        # A cell beyond the last has weight 0, and so may any other have.
        return cells.long().minimum(self._cells - 1), _weights(self.place, self.share, cells)


def _weights(place: torch.Tensor, share: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Weights (..., P, n) in bins of cells, (n) or (..., P, n), by samples (..., P, S)."""
    weights = []
    for own_place, own_share in zip(place.unbind(-1), share.unbind(-1), strict=True):
        hat = (own_place[..., None] - cells).abs_().neg_().add_(1).clamp_(min=0)
        weights.append(hat.mul_(own_share[..., None]))
    return functools.reduce(torch.Tensor.add_, weights)
