"""Mask logits of a slice's lesions -> one map.

Shapes: slices of H x W pixels, R instances.
"""

import numpy as np
import torch
from detectron2.layers.mask_ops import _do_paste_mask
from detectron2.structures import Instances, ROIMasks
from torchvision.models.detection.roi_heads import paste_masks_in_image

from ..modeling.mask_head import MASK_CUT, TorchvisionROIMasks

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
    """Paste a mask's logits by Detectron2's pasting.

    Returns:
        The pixels; the logits there, which fade to 0 within half a cell about the box; and the
        logits without fading, NaN outside the box.
    """
    masks = torch.stack([logit, torch.ones_like(logit)])[:, None]
    (pasted, weight), where = _do_paste_mask(masks, box.expand(2, 4), *size)
    x0, y0, x1, y1 = box
    ys, xs = (torch.arange(pixels.start, pixels.stop) + 0.5 for pixels in where)
    inside = (xs >= x0) & (xs <= x1) & ((ys >= y0) & (ys <= y1))[:, None]
    return where, pasted, torch.where(inside, pasted / weight, torch.nan)


def _torchvision(logit: torch.Tensor, box: torch.Tensor, size: tuple[int, int]) -> _Pasted:
    """As `_detectron2`, by torchvision's own pasting, which has no logits without fading."""
    pasted = paste_masks_in_image(logit[None, None], box[None], size)[0, 0]
    inside = torch.zeros(size, dtype=torch.bool)
    x0, y0 = box[:2].floor().int().clamp(min=0).tolist()
    x1, y1 = box[2:].ceil().int().tolist()
    inside[y0:y1, x0:x1] = True
    return np.s_[:, :], pasted, torch.where(inside, pasted, torch.nan)
