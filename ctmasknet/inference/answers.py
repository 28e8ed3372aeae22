"""What a network returns for a slice -> what a Predictor answers.

Shapes: slices of H x W pixels, h x w in the network's input, R instances, n different ranked boxes.
"""

from __future__ import annotations

import math

import numpy as np
import pycocotools.mask as mask_util
import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Instances, ROIMasks
from torch.nn import functional as F

from ..modeling.mask_head import MASK_CUT
from ..modeling.occlusion import box_contributions
from ..modeling.ranked_boxes import RankedBoxes, first_places
from .network import Network
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
    for logit, box in zip(logits, boxes.tolist(), strict=True):
        rows, ys = _sampling(box[1], box[3], len(logit), size[0])
        columns, xs = _sampling(box[0], box[2], len(logit), size[1])
        grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)[None]
        pasted, held = (
            F.grid_sample(logit[None, None], grid, padding_mode=padding, align_corners=False)[0, 0]
            for padding in ("zeros", "border")
        )
        inside = (xs.abs() <= 1) & (ys.abs() <= 1)[:, None]
        # Pasting fades to 0 at the box, which would frame every box; it counts for the cut alone.
        below = torch.where(inside, held.clamp(max=_BELOW_CUT), torch.nan)
        values = torch.where(pasted >= MASK_CUT, pasted, below).numpy()
        combined[rows, columns] = np.fmax(combined[rows, columns], values)
    return combined


def _sampling(low: float, high: float, cells: int, length: int) -> tuple[slice, torch.Tensor]:
    """Where pixels along one axis of a slice lie in a mask pasted at low..high.

    As in Detectron2's pasting, so that the map agrees with the masks to the pixel: centres of
    pixels sample the mask, which fades to 0 within half a cell outside the box.

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
    found = detector_postprocess(found, *size)
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
