"""Mask logits of a slice's lesions -> one map.

Shapes: slices of H x W pixels, R instances.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from detectron2.structures import Instances, ROIMasks
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import paste_masks_in_image

from ..fast.mask_paste import TorchvisionROIMasks
from ..modeling.mask_head import MASK_CUT

_BELOW_CUT = float(np.nextafter(np.float32(MASK_CUT), np.float32(0)))
_Pasted = tuple[tuple[slice, slice], torch.Tensor, torch.Tensor]


def score_map(instances: Instances, size: tuple[int, int], min_score: float) -> np.ndarray:
    """Paste raw mask logits; see `Predictor.score_map`.

    Args:
        instances: raw ones of a model with masks.
        size: (H, W).
        min_score: instances with a lower score are left out.

    Returns:
        (H, W) float32, NaN outside all boxes.
    """
    instances = instances[instances.scores >= min_score].to("cpu")
    instances = instances[instances.pred_boxes.nonempty()]
    masks = instances.pred_masks
    logits = (masks.tensor if isinstance(masks, ROIMasks) else masks[:, 0]).float()
    boxes = scaled_boxes(instances.pred_boxes.tensor.float(), instances.image_size, size)
    combined = np.full(size, np.nan, np.float32)
    paste = _torchvision if isinstance(masks, TorchvisionROIMasks) else _detectron2
    for logit, box in zip(logits, boxes, strict=True):
        where, pasted, below = paste(logit, box, size)
        # Pasting fades to 0 at the box, which would frame every box; it counts for the cut alone.
        values = torch.where(pasted >= MASK_CUT, pasted, below.clamp(max=_BELOW_CUT)).numpy()
        combined[where] = np.fmax(combined[where], values)
    return combined


def scaled_boxes(
    boxes: torch.Tensor, input_size: tuple[int, int], size: tuple[int, int]
) -> torch.Tensor:
    """Scale (R, 4) boxes from pixels of the network's input (h, w) to those of the slice (H, W)."""
    x, y = size[1] / input_size[1], size[0] / input_size[0]
    return boxes * boxes.new_tensor([x, y, x, y])


def _detectron2(logit: torch.Tensor, box: torch.Tensor, size: tuple[int, int]) -> _Pasted:
    """Paste a mask's logits where Detectron2 does: centres of pixels sample the mask.

    Returns:
        The pixels; the logits there, faded to 0 within half a cell about the box; and the logits
        without fading, NaN outside the box.
    """
    x0, y0, x1, y1 = box.tolist()
    rows, ys = _sampling(y0, y1, len(logit), size[0])
    columns, xs = _sampling(x0, x1, len(logit), size[1])
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)[None]
    pasted, held = (
        F.grid_sample(logit[None, None], grid, padding_mode=padding, align_corners=False)[0, 0]
        for padding in ("zeros", "border")
    )
    inside = (xs.abs() <= 1) & (ys.abs() <= 1)[:, None]
    return (rows, columns), pasted, torch.where(inside, held, torch.nan)


def _torchvision(logit: torch.Tensor, box: torch.Tensor, size: tuple[int, int]) -> _Pasted:
    """As `_detectron2`, by torchvision's own pasting, which has no logits without fading."""
    pasted = paste_masks_in_image(logit[None, None], box[None], size)[0, 0]
    inside = torch.zeros(size, dtype=torch.bool)
    x0, y0 = box[:2].floor().int().clamp(min=0).tolist()
    x1, y1 = box[2:].ceil().int().tolist()
    inside[y0:y1, x0:x1] = True
    return np.s_[:, :], pasted, torch.where(inside, pasted, torch.nan)


def _sampling(low: float, high: float, cells: int, length: int) -> tuple[slice, torch.Tensor]:
    """Find the pixels along one axis of a slice that a mask pasted at low..high reaches.

    Returns:
        The pixels, and for each its place as `grid_sample` wants it, the box from -1 to 1.
    """
    margin = (high - low) / cells / 2
    start, stop = max(math.floor(low - margin), 0), min(math.ceil(high + margin), length)
    centres = torch.arange(start, stop) + 0.5
    return slice(start, stop), (centres - low) / (high - low) * 2 - 1
