"""What a model returns for a slice -> a SlicePrediction.

Shapes: slices of H x W pixels.
"""

import numpy as np
import pycocotools.mask as mask_util
import torch
from detectron2.structures import Instances

from ..modeling.occlusion import box_contributions
from ..modeling.ranked_boxes import first_places
from .loaded_model import LoadedModel
from .predictions import Classification, Instance, RankedBoxTable, SlicePrediction
from .score_map import scaled_boxes


def postprocess_slice(
    output: dict,
    size: tuple[int, int],
    classifier: LoadedModel,
    lesion_model: LoadedModel,
    min_score: float,
    pixel_mm: tuple[float, float] | None,
    source: str,
) -> SlicePrediction:
    """Turn one slice's output into plain types, in pixels of the slice.

    Args:
        output: of `classifier`, "instances" of `lesion_model`.
        size: (H, W).
        classifier, lesion_model: perhaps the same.
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
        ranked = _ranked_table(output, classifier, size)
    return SlicePrediction(
        size=size,
        lesion_classes=lesion_model.lesion_classes,
        instances=_instances(output["instances"], size, lesion_model, min_score, pixel_mm),
        has_masks=lesion_model.has_masks,
        classification=classification,
        ranked_boxes=ranked,
        pixel_mm=pixel_mm,
        source=source,
    )


def _instances(
    found: Instances,
    size: tuple[int, int],
    model: LoadedModel,
    min_score: float,
    pixel_mm: tuple[float, float] | None,
) -> tuple[Instance, ...]:
    found = model.model.postprocess(found[found.scores >= min_score].to("cpu"), *size)  # type: ignore[operator]
    masks: list[tuple] = [(None, None, None)] * len(found)
    if model.has_masks and len(found):
        masks = _encoded(found.pred_masks.numpy(), pixel_mm)
    return tuple(
        Instance(model.lesion_classes[cls], score, tuple(box), *mask)
        for cls, score, box, mask in zip(
            found.pred_classes.tolist(),
            found.scores.tolist(),
            found.pred_boxes.tensor.tolist(),
            masks,
            strict=True,
        )
    )


def _encoded(masks: np.ndarray, pixel_mm: tuple[float, float] | None) -> list[tuple]:
    """Return the RLE, the area in pixels and that in mm2 of each of (R, H, W) masks."""
    rles = mask_util.encode(np.asfortranarray(masks.transpose(1, 2, 0), np.uint8))
    areas = mask_util.area(rles).tolist()
    return [
        (
            {**rle, "counts": rle["counts"].decode()},
            area,
            area * pixel_mm[0] * pixel_mm[1] if pixel_mm else None,
        )
        for rle, area in zip(rles, areas, strict=True)
    ]


def _ranked_table(output: dict, model: LoadedModel, size: tuple[int, int]) -> RankedBoxTable:
    ranked = output["ranked_boxes"]
    places = first_places(int(ranked.counts), len(ranked.rows)).to(ranked.rows.device)
    classes = ranked.classes[places].tolist()
    return RankedBoxTable(
        rows=_array(ranked.rows),
        boxes=_array(scaled_boxes(ranked.boxes[places], output["input_size"], size)),
        scores=_array(ranked.rows[places, 0]),
        lesion_classes=tuple(model.lesion_classes[cls] for cls in classes),
        contributions=_array(box_contributions(model.model.image_head, ranked)),  # type: ignore[arg-type]
    )


def _array(values: torch.Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
