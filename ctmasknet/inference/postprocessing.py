"""What a network returns for a slice -> what a Predictor answers.

Shapes: slices of H x W pixels, h x w in the network's input, R instances, n different ranked boxes.
"""

from __future__ import annotations

import math

import numpy as np
import pycocotools.mask as mask_util
import torch
from detectron2.structures import Instances, ROIMasks
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import paste_masks_in_image

from ..modeling.mask_head import MASK_CUT, TorchvisionROIMasks
from ..modeling.occlusion import box_contributions
from ..modeling.ranked_boxes import RankedBoxes, first_places
from .loaded_model import Network
from .predictions import Classification, Instance, RankedBoxTable, SlicePrediction

_BELOW_CUT = float(np.nextafter(np.float32(MASK_CUT), np.float32(0)))


def answer_slice(
    output: dict,
    size: tuple[int, int],
    classifier: Network,
    lesions: Network,
    *,
    min_score: float,
    pixel_mm: tuple[float, float] | None,
    source: str,
) -> SlicePrediction:
    """Turn one slice's output into plain types, in pixels of the slice.

    Args:
        output: of `classifier`, "instances" of `lesions`.
        size: (H, W).
        classifier, lesions: networks, perhaps the same.
        min_score: instances with a lower score are left out, before their masks are pasted.
        pixel_mm: (height, width) of a pixel, or None.
        source: the file, or "".
    """
    classification = ranked = None
    if classifier.image_classes:
        classification = Classification(
            classifier.image_classes,
            output["image_probs"].double().cpu().numpy(),
            output["image_logits"].double().cpu().numpy(),
        )
        ranked = _ranked_table(output["ranked_boxes"], classifier, output["input_size"], size)
    return SlicePrediction(
        size=size,
        lesion_classes=lesions.lesion_classes,
        instances=_instances(output["instances"], size, lesions, min_score, pixel_mm),
        has_masks=lesions.has_masks,
        classification=classification,
        ranked_boxes=ranked,
        pixel_mm=pixel_mm,
        source=source,
    )


def score_map(instances: Instances, size: tuple[int, int], min_score: float) -> np.ndarray:
    """Paste raw mask logits; see `Predictor.score_map`.

    Args:
        instances: raw ones of a network with masks.
        size: (H, W).
        min_score: instances with a lower score are left out.

    Returns:
        (H, W) float32, NaN outside all boxes.
    """
    instances = instances[instances.scores >= min_score].to("cpu")
    instances = instances[instances.pred_boxes.nonempty()]
    masks = instances.pred_masks
    logits = (masks.tensor if isinstance(masks, ROIMasks) else masks[:, 0]).float()
    boxes = _in_slice(instances.pred_boxes.tensor.float(), instances.image_size, size)
    combined = np.full(size, np.nan, np.float32)
    paste = _torchvision if isinstance(masks, TorchvisionROIMasks) else _detectron2
    for logit, box in zip(logits, boxes, strict=True):
        where, pasted, below = paste(logit, box, size)
        # Pasting fades to 0 at the box, which would frame every box; it counts for the cut alone.
        values = torch.where(pasted >= MASK_CUT, pasted, below.clamp(max=_BELOW_CUT)).numpy()
        combined[where] = np.fmax(combined[where], values)
    return combined


_Where = tuple[slice, slice]


def _detectron2(
    logit: torch.Tensor, box: torch.Tensor, size: tuple[int, int]
) -> tuple[_Where, torch.Tensor, torch.Tensor]:
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


def _torchvision(
    logit: torch.Tensor, box: torch.Tensor, size: tuple[int, int]
) -> tuple[_Where, torch.Tensor, torch.Tensor]:
    """As `_detectron2`, by torchvision's own pasting, which has no logits without fading."""
    pasted = paste_masks_in_image(logit[None, None], box[None], size)[0, 0]
    inside = torch.zeros(size, dtype=torch.bool)
    x0, y0 = box[:2].floor().int().clamp(min=0).tolist()
    x1, y1 = box[2:].ceil().int().tolist()
    inside[y0:y1, x0:x1] = True
    return np.s_[:, :], pasted, torch.where(inside, pasted, torch.nan)


def _sampling(low: float, high: float, cells: int, length: int) -> tuple[slice, torch.Tensor]:
    """The pixels along one axis of a slice that a mask pasted at low..high reaches.

    Returns:
        The pixels, and for each its place as `grid_sample` wants it, the box from -1 to 1.
    """
    margin = (high - low) / cells / 2
    start, stop = max(math.floor(low - margin), 0), min(math.ceil(high + margin), length)
    centres = torch.arange(start, stop) + 0.5
    return slice(start, stop), (centres - low) / (high - low) * 2 - 1


def _instances(
    found: Instances,
    size: tuple[int, int],
    network: Network,
    min_score: float,
    pixel_mm: tuple[float, float] | None,
) -> tuple[Instance, ...]:
    found = found[found.scores >= min_score].to("cpu")
    found = network.model.postprocess(found, *size)
    rles: list[dict | None] = [None] * len(found)
    if network.has_masks and len(found):
        masks = found.pred_masks.numpy().transpose(1, 2, 0)
        rles = mask_util.encode(np.asfortranarray(masks, np.uint8))
    result = []
    for rle, cls, score, box in zip(
        rles,
        found.pred_classes.tolist(),
        found.scores.tolist(),
        found.pred_boxes.tensor.tolist(),
        strict=True,
    ):
        area = None if rle is None else int(mask_util.area(rle))
        known = area is not None and pixel_mm is not None
        result.append(
            Instance(
                lesion_class=network.lesion_classes[cls],
                score=score,
                box=(box[0], box[1], box[2], box[3]),
                rle=rle and {**rle, "counts": rle["counts"].decode()},
                area_px=area,
                area_mm2=area * pixel_mm[0] * pixel_mm[1] if known else None,  # type: ignore[index,operator]
            )
        )
    return tuple(result)


def _ranked_table(
    ranked: RankedBoxes, network: Network, input_size: tuple[int, int], size: tuple[int, int]
) -> RankedBoxTable:
    places = first_places(int(ranked.counts), len(ranked.rows)).to(ranked.rows.device)
    head = network.model.image_head
    classes = ranked.classes[places].tolist()
    return RankedBoxTable(
        rows=_array(ranked.rows),
        boxes=_array(_in_slice(ranked.boxes[places], input_size, size)),
        scores=_array(ranked.rows[places, 0]),
        lesion_classes=tuple(network.lesion_classes[cls] for cls in classes),
        contributions=_array(box_contributions(head, ranked)),  # type: ignore[arg-type]
    )


def _in_slice(
    boxes: torch.Tensor, input_size: tuple[int, int], size: tuple[int, int]
) -> torch.Tensor:
    """(R, 4) boxes from pixels of the network's input to pixels of the slice."""
    x, y = size[1] / input_size[1], size[0] / input_size[0]
    return boxes * boxes.new_tensor([x, y, x, y])


def _array(values: torch.Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
