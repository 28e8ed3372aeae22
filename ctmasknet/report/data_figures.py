"""What data sets hold and what training sees, as pictures.

Shapes: a slice of H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from detectron2.data.detection_utils import annotations_to_instances
from detectron2.structures import BitMasks, Instances
from matplotlib.figure import Figure

from ..data.images import read_slice
from ..inference.predictions import Instance
from ..wording import counted
from .paper_figures import save_figure, show_lesions

Record = Mapping[str, Any]  # a Detectron2 dataset dict

_COLUMNS, _ROWS = 4, 4  # of a contact sheet


@dataclass(frozen=True, eq=False)
class Panel:
    """A slice for a contact sheet.

    Attributes:
        caption: file, size, class and number of lesions, as far as there are any.
        image: (H, W, 3) uint8 RGB.
        lesions: drawn over it.
        lesion_classes: names; their order gives the colours.
    """

    caption: str
    image: np.ndarray
    lesions: tuple[Instance, ...]
    lesion_classes: tuple[str, ...]


def true_instances(record: Record, class_names: Sequence[str]) -> tuple[Instance, ...] | None:
    """The lesions that a data set has for a slice, crowd annotations left out.

    Args:
        record: a dataset dict; with annotations also "height" and "width".
        class_names: the lesion classes, in the order of their ids.

    Returns:
        Instances of score 1; None where the data set has no lesions but labels.
    """
    if "annotations" not in record:
        return None
    lesions = [item for item in record["annotations"] if not item.get("iscrowd")]
    size = (record["height"], record["width"])
    return _plain(annotations_to_instances(lesions, size, "bitmask"), class_names)


def truth_panels(
    records: Iterable[Record], lesion_classes: Sequence[str], image_classes: Sequence[str]
) -> Iterator[Panel]:
    """Slices with what the data set says of them.

    Args:
        records: dataset dicts.
        lesion_classes, image_classes: names; empty where the data set has none.
    """
    for record in records:
        image = read_slice(record["file_name"])
        lesions = true_instances(record, lesion_classes)
        yield _panel(record, image, lesions, lesion_classes, image_classes)


def training_panels(
    batches: Iterable[Sequence[Record]],
    image_format: str,
    lesion_classes: Sequence[str],
    image_classes: Sequence[str],
) -> Iterator[Panel]:
    """Slices of training batches as the model gets them, before it normalises them.

    Args:
        batches: of a training loader; "image" is (3, H, W) in 0..255.
        image_format: INPUT.FORMAT, "RGB" or "BGR".
        lesion_classes, image_classes: names; empty where the data set has none.
    """
    for batch in batches:
        for record in batch:
            image = record["image"].numpy().transpose(1, 2, 0)
            image = np.rint(image).clip(0, 255).astype(np.uint8)
            image = np.ascontiguousarray(image[..., ::-1] if image_format == "BGR" else image)
            lesions = None
            if "instances" in record:
                lesions = _plain(record["instances"], lesion_classes)
            yield _panel(record, image, lesions, lesion_classes, image_classes)


def save_contact_sheets(panels: Iterable[Panel], folder: Path, stem: str, title: str) -> list[Path]:
    """Save panels on pages of 4 x 4.

    Args:
        panels: any number; those of one page are in memory together.
        folder: for the pages, made if needed.
        stem: the pages are <stem>_01.png, <stem>_02.png, ...
        title: line above each page.

    Returns:
        The pages.
    """
    remaining = iter(panels)
    pages: list[Path] = []
    while page := list(islice(remaining, _COLUMNS * _ROWS)):
        path = folder / f"{stem}_{len(pages) + 1:02d}.png"
        save_figure(_contact_sheet(page, title), path)
        pages.append(path)
    return pages


def _plain(target: Instances, class_names: Sequence[str]) -> tuple[Instance, ...]:
    """Detectron2's ground truth in plain types, with score 1."""
    rles: list[dict | None] = [None] * len(target)
    if target.has("gt_masks"):
        masks = target.gt_masks
        if not isinstance(masks, BitMasks):
            masks = BitMasks.from_polygon_masks(masks, *target.image_size)
        flat = masks.tensor.numpy().transpose(1, 2, 0)
        rles = mask_util.encode(np.asfortranarray(flat, np.uint8))
    return tuple(
        Instance(class_names[label], 1.0, (box[0], box[1], box[2], box[3]), rle)
        for label, box, rle in zip(
            target.gt_classes.tolist(), target.gt_boxes.tensor.tolist(), rles, strict=True
        )
    )


def _panel(
    record: Record,
    image: np.ndarray,
    lesions: Sequence[Instance] | None,
    lesion_classes: Sequence[str],
    image_classes: Sequence[str],
) -> Panel:
    file = Path(record["file_name"])
    parts = [f"{file.parent.name}/{file.name}", f"{image.shape[1]} x {image.shape[0]}"]
    if "label" in record:
        parts.append(image_classes[record["label"]])
    if lesions is not None:
        parts.append(counted(len(lesions), "lesion"))
    return Panel(", ".join(parts), image, tuple(lesions or ()), tuple(lesion_classes))


def _contact_sheet(panels: Sequence[Panel], title: str) -> Figure:
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    ratio = max(panel.image.shape[0] / panel.image.shape[1] for panel in panels)
    width = 4.6  # 540 pixels or so: slices are enlarged to 512 or more
    figure = Figure((width * columns, (width * min(ratio, 2) + 0.5) * rows + 0.6))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, panel in zip(axes, panels, strict=False):
        show_lesions(ax, panel.image, panel.lesions, panel.lesion_classes, False)
        ax.set_title(fill(panel.caption, 48).replace("$", r"\$"), fontsize=9)
    figure.suptitle(fill(title, 48 * columns).replace("$", r"\$"), fontsize=12)
    return figure
