"""Multiply-adds of a model on one image, for model_table.py."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from detectron2.utils.analysis import FlopCountAnalysis
from torch import nn

from ctmasknet.modeling import CTMaskNet, ImageHead, ImageModel

IMAGE_SIZE = 512
# fvcore counts these too, in units of its own: 2 for each number that BatchNorm reads, 1 for each
# that upsampling writes.
NOT_MULTIPLY_ADDS = ("batch_norm", "upsample_nearest2d")

# Layers and input shape -> multiply-adds: the configs share most of their parts.
_COUNTS: dict[str, int] = {}


def count_multiply_adds(model: Any) -> int:
    """Count the multiply-adds of one image of 512 x 512 at inference.

    The RPN is taken to hand on as many proposals, and the mask head to see as many instances, as
    they may, so that the number does not depend on weights.

    Args:
        model: a LesionRCNN, CTMaskNet or ImageModel, on any device; left as it is.

    Returns:
        Those of convolutions and linear layers.
    """
    if isinstance(model, ImageModel):
        return _traced(_FromPixels(model), torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE))
    # The cost of a convolution is proportional to the area, and that of a head to the number of
    # RoIs: tracing the smallest input that the strides divide is as exact as tracing all of it.
    cell = model.backbone.size_divisibility
    cells = (IMAGE_SIZE // cell) ** 2
    levels = [
        torch.zeros(1, level.channels, cell // level.stride, cell // level.stride)
        for level in model.backbone.output_shape().values()
    ]
    heads = model.roi_heads
    channels = levels[0].shape[1]
    pooled = torch.zeros(1, channels, *heads.box_pooler.output_size)
    box_features = torch.zeros(1, heads.box_head.output_shape.channels)
    rois = model.proposal_generator.post_nms_topk[False]
    count = (
        _traced(model.backbone, torch.zeros(1, 3, cell, cell)) * cells
        + _traced(model.proposal_generator.rpn_head, levels) * cells
        + _traced(heads.box_head, pooled) * rois
        + _traced(heads.box_predictor, box_features) * rois
    )
    if heads.mask_on:
        pooled = torch.zeros(1, channels, *heads.mask_pooler.output_size)
        # The layers without its `forward`, which wants instances.
        layers = nn.Sequential(*heads.mask_head)
        count += _traced(layers, pooled) * heads.box_predictor.test_topk_per_image
    if isinstance(model, CTMaskNet):
        head = model.image_head
        count += _traced(_FromRows(head), head.input_shape.zeros(1).rows)
    return count


class _FromPixels(nn.Module):
    """A baseline as a module that takes a tensor, as tracing wants it."""

    def __init__(self, model: ImageModel):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model.classifier(self.model.features(images))


class _FromRows(nn.Module):
    """An image head, likewise."""

    def __init__(self, head: ImageHead):
        super().__init__()
        self.head = head

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.head(replace(self.head.input_shape.zeros(len(rows)), rows=rows))


def _traced(part: nn.Module, inputs: torch.Tensor | list[torch.Tensor]) -> int:
    shapes = [tuple(x.shape) for x in inputs] if isinstance(inputs, list) else inputs.shape
    key = f"{part} {shapes}"
    if key not in _COUNTS:
        # PyTorch does not trace convolutions on the meta device.
        part = deepcopy(part).to_empty(device="cpu").eval()
        counts = FlopCountAnalysis(part, (inputs,)).by_operator()
        _COUNTS[key] = sum(n for name, n in counts.items() if name not in NOT_MULTIPLY_ADDS)
    return _COUNTS[key]
