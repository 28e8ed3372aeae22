"""RoIAlign after the box head's first linear layer instead of before it.

Both are linear, so they may change places: multiply the feature map by the layer's weights once
for each image, and then sum, for each RoI, the few rows of that table which its samples touch. With
many RoIs on a small map that is less work than pooling each of them and multiplying afterwards.

Shapes: B images, R RoIs, C channels, H x W cells, P bins along an axis, F features of the layer.
"""

import torch
from detectron2.layers import ROIAlign
from detectron2.modeling.poolers import convert_boxes_to_pooler_format
from detectron2.modeling.roi_heads import FastRCNNConvFCHead
from detectron2.structures import Boxes
from torch import nn
from torch.nn import functional as F

from ..modeling import LesionRCNN, RankedROIHeads
from .rebind import rebind
from .roi_align import MAX_CELLS, is_separable, sampling


def projected_roi_align(model: LesionRCNN) -> None:
    """Project before pooling in `RankedROIHeads.box_features`, on a CPU where it is less work."""
    if isinstance(model.roi_heads, RankedROIHeads):
        rebind(model.roi_heads, "box_features", _box_features, RankedROIHeads)


def _box_features(
    heads: RankedROIHeads, levels: list[torch.Tensor], boxes: list[Boxes]
) -> torch.Tensor:
    head, align = heads.box_head, heads.box_pooler.level_poolers[0]
    if not (
        len(levels) == 1
        and levels[0].device.type == "cpu"
        and type(head) is FastRCNNConvFCHead
        and not head.conv_norm_relus
        and isinstance(align, ROIAlign)
        and is_separable(align)
        and projecting_wins(sum(map(len, boxes)), levels[0].shape, align, head.fcs[0].out_features)
    ):
        return type(heads).box_features(heads, levels, boxes)
    hidden = project_and_pool(levels[0], convert_boxes_to_pooler_format(boxes), align, head.fcs[0])
    for layer in list(head)[2:]:  # after the flattening and the first linear layer
        hidden = layer(hidden)
    return hidden


def projecting_wins(num_rois: int, shape: torch.Size, align: ROIAlign, out: int) -> bool:
    """Return whether the table costs fewer multiply-adds than pooling by matrices and the layer.

    Args:
        num_rois: of all images.
        shape: (B, C, H, W) of the features.
        align: the pooling.
        out: F.
    """
    images, channels, height, width = shape
    if height * width > MAX_CELLS:  # where it is torchvision that pools; and tables grow with it
        return False
    bins = align.output_size[0] * align.output_size[1]
    table = images * height * width * channels * bins * out
    pooling = align.output_size[0] * height * width * channels + bins * width * channels
    return table < num_rois * (pooling + bins * channels * out)


def project_and_pool(
    features: torch.Tensor, rois: torch.Tensor, align: ROIAlign, layer: nn.Linear
) -> torch.Tensor:
    """Equal `layer(align(features, rois).flatten(1))`, up to rounding; also its gradient.

    Args:
        features: (B, C, H, W) float.
        rois: (R, 5) float: image, then x0 y0 x1 y1 in pixels.
        align: must be separable.
        layer: C * P * P to F.

    Returns:
        (R, F) of the features' dtype.
    """
    num_images, channels, height, width = features.shape
    bins = align.output_size[0]
    # By image and from top to bottom: neighbours read the same rows of the table.
    top = (rois[:, 2] * align.spatial_scale).clamp(0, height)
    order = (rois[:, 0] * (2 * height) + top).argsort()
    rois = rois[order]
    (rows, columns), (by_row, by_column) = sampling(align, rois, (height, width)).windows()
    # A row of bins at a time: its table has a cell's bins side by side.
    columns = (columns * bins + torch.arange(bins, device=rois.device)[:, None]).int().flatten(1)
    rows = (rows * (width * bins)).int()
    by_column = by_column.flatten(1)
    weight = layer.weight.to(features.dtype).t().unflatten(0, (channels, bins, -1))
    weight = weight.transpose(0, 1).flatten(2)  # a copy, once for all images
    maps = features.permute(0, 2, 3, 1).flatten(1, 2).unbind()
    counts = torch.bincount(rois[:, 0].long(), minlength=num_images).tolist()
    out: torch.Tensor = layer.bias  # sums in its precision
    for y, own in enumerate(weight):
        index = (rows[:, y, :, None] + columns[:, None]).flatten(1)
        share = (by_row[:, y, :, None] * by_column[:, None]).flatten(1)
        sums = [
            _gather((image @ own).view(-1, layer.out_features), index_i, share_i)
            for image, index_i, share_i in zip(
                maps, index.split(counts), share.split(counts), strict=True
            )
        ]
        out = out + torch.cat(sums)
    return out[order.argsort()].to(features.dtype)


def _gather(table: torch.Tensor, index: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """(R, F): for each RoI the sum of rows of a table (rows, F), by index and share (R, n)."""
    return F.embedding_bag(index, table, mode="sum", per_sample_weights=share.to(table.dtype))
