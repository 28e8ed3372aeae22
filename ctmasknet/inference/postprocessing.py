"""What a model returns for a slice -> a SlicePrediction, or a score map, in pixels of the slice.

Shapes: slices of H x W pixels, R instances.
"""

import numpy as np
import pycocotools.mask as mask_util
import torch
from detectron2.layers.mask_ops import _do_paste_mask
from detectron2.structures import Instances, ROIMasks
from torchvision.models.detection.roi_heads import paste_masks_in_image

from ..lung import Box
from ..modeling.field import postprocess_field
from ..modeling.mask_head import MASK_CUT, TorchvisionROIMasks
from ..modeling.occlusion import box_contributions, share_of_boxes
from ..modeling.pixels_to_instances import ImageMasks
from .loaded_model import LoadedModel
from .predictions import Classification, Instance, RankedBoxTable, SlicePrediction

_BELOW_CUT = float(np.nextafter(np.float32(MASK_CUT), np.float32(0)))
_Pasted = tuple[tuple[slice, slice], torch.Tensor, torch.Tensor]


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

    `output` is that of `classifier`, its "instances" and "lesion_field" those of `lesion_model`,
    perhaps the same.
    Instances that score below `min_score` are left out before masks are pasted. `size` is (H, W),
    `pixel_mm` (height, width) of a pixel.
    """
    classification = ranked = None
    if classifier.image_classes:
        classification = Classification(
            classifier.image_classes,
            output["image_probs"].double().cpu().numpy(),
            output["image_logits"].double().cpu().numpy(),
        )
        if "ranked_boxes" in output:
            ranked = _ranked_table(output, classifier, size)
    return SlicePrediction(
        size=size,
        lesion_classes=lesion_model.lesion_classes,
        instances=_instances(output, size, lesion_model, min_score, pixel_mm),
        has_masks=lesion_model.has_masks,
        classification=classification,
        ranked_boxes=ranked,
        pixel_mm=pixel_mm,
        source=source,
        field=output["lesion_field"],
    )


def _instances(
    output: dict,
    size: tuple[int, int],
    model: LoadedModel,
    min_score: float,
    pixel_mm: tuple[float, float] | None,
) -> tuple[Instance, ...]:
    found = output["instances"]
    found = found[found.scores >= min_score].to("cpu")
    found = postprocess_field(model.model.postprocess, found, output["lesion_field"], *size)  # type: ignore[arg-type]
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
    """Return RLE, area in pixels and area in mm2 of each of (R, H, W) masks."""
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


@torch.no_grad()
def _ranked_table(output: dict, model: LoadedModel, size: tuple[int, int]) -> RankedBoxTable:
    ranked, head = output["ranked_boxes"], model.model.get_submodule("image_head")
    own = ranked.distinct()
    attention = share = None
    if hasattr(head, "attention"):
        attention = _array(head.attention(ranked[None])[0][ranked.valid])  # type: ignore[operator]
    if ranked.global_features is not None:
        share = _array(share_of_boxes(head, ranked))
    return RankedBoxTable(
        rows=_array(ranked.rows),
        boxes=_array(boxes_in_image(own.boxes, output["input_size"], output["field"], size)),
        scores=_array(own.scores),
        lesion_classes=tuple(model.lesion_classes[cls] for cls in own.classes.tolist()),
        contributions=_array(box_contributions(head, ranked)),
        attention=attention,
        boxes_share=share,
    )


def _array(values: torch.Tensor) -> np.ndarray:
    return values.float().cpu().numpy()


def score_map(
    instances: Instances, size: tuple[int, int], min_score: float, field: Box | None = None
) -> np.ndarray:
    """Paste raw mask logits of instances into (H, W) float32; see `Predictor.score_map`.

    `field` is the part of the slice that the network saw; None is all.
    """
    if field is not None:
        x0, y0, x1, y1 = field
        whole = np.full(size, np.nan, np.float32)
        whole[y0:y1, x0:x1] = score_map(instances, (y1 - y0, x1 - x0), min_score)
        return whole
    instances = instances[instances.scores >= min_score].to("cpu")
    instances = instances[instances.pred_boxes.nonempty()]
    masks = instances.pred_masks
    if isinstance(masks, ImageMasks):
        return _marked(masks, instances, size)
    logits = (masks.tensor if isinstance(masks, ROIMasks) else masks[:, 0]).float()
    boxes = boxes_in_image(instances.pred_boxes.tensor.float(), instances.image_size, None, size)
    combined = np.full(size, np.nan, np.float32)
    paste = _torchvision if isinstance(masks, TorchvisionROIMasks) else _detectron2
    for logit, box in zip(logits, boxes, strict=True):
        where, pasted, below = paste(logit, box, size)
        # Pasting fades to 0 at the box, which would frame every box; it counts for the cut alone.
        values = torch.where(pasted >= MASK_CUT, pasted, below.clamp(max=_BELOW_CUT)).numpy()
        combined[where] = np.fmax(combined[where], values)
    return combined


def _marked(masks: ImageMasks, instances: Instances, size: tuple[int, int]) -> np.ndarray:
    """Mark whole masks, which have no logits: 1 in them, 0 in the rest of their boxes."""
    combined = np.full(size, np.nan, np.float32)
    boxes = boxes_in_image(instances.pred_boxes.tensor.float(), instances.image_size, None, size)
    for x0, y0, x1, y1 in boxes.round().int().tolist():
        combined[y0:y1, x0:x1] = 0
    for mask in masks.to_bitmasks(instances.pred_boxes, *size).tensor.numpy():
        combined[mask] = 1
    return combined


def boxes_in_image(
    boxes: torch.Tensor,
    input_size: tuple[int, int],
    field: Box | None,
    size: tuple[int, int],
) -> torch.Tensor:
    """Put (R, 4) boxes from pixels of the network's input (h, w) into those of the slice (H, W).

    `field` is the part of the slice that the input was made of; None is all.
    """
    x0, y0, x1, y1 = field or (0, 0, size[1], size[0])
    x, y = (x1 - x0) / input_size[1], (y1 - y0) / input_size[0]
    return boxes * boxes.new_tensor([x, y, x, y]) + boxes.new_tensor([x0, y0, x0, y0])


def _detectron2(logit: torch.Tensor, box: torch.Tensor, size: tuple[int, int]) -> _Pasted:
    """Paste a mask's logits as Detectron2 does.

    Returns the pixels; the logits there, which fade to 0 within half a cell about the box; and the
    logits without fading, NaN outside the box.
    """
    masks = torch.stack([logit, torch.ones_like(logit)])[:, None]
    (pasted, weight), where = _do_paste_mask(masks, box.expand(2, 4), *size)
    x0, y0, x1, y1 = box
    ys, xs = (torch.arange(pixels.start, pixels.stop) + 0.5 for pixels in where)
    inside = (xs >= x0) & (xs <= x1) & ((ys >= y0) & (ys <= y1))[:, None]
    return where, pasted, torch.where(inside, pasted / weight, torch.nan)


def _torchvision(logit: torch.Tensor, box: torch.Tensor, size: tuple[int, int]) -> _Pasted:
    """Paste as `_detectron2`, but as torchvision does, which has no logits without fading."""
    pasted = paste_masks_in_image(logit[None, None], box[None], size)[0, 0]
    inside = torch.zeros(size, dtype=torch.bool)
    x0, y0 = box[:2].floor().int().clamp(min=0).tolist()
    x1, y1 = box[2:].ceil().int().tolist()
    inside[y0:y1, x0:x1] = True
    return np.s_[:, :], pasted, torch.where(inside, pasted, torch.nan)
