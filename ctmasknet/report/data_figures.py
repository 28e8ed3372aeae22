"""Contact sheets: what data sets hold and what training sees.

Shapes: a slice of H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from ..data.images import read_slice
from ..figures import plain, save_figure
from ..inference.predictions import Instance
from ..wording import counted
from .dataset_slices import Record, plain_instances, true_instances
from .paper_figures import show_lesions

_COLUMNS, _ROWS = 4, 4
_WIDTH = 4.6  # inches of a panel, 540 pixels or so: slices are enlarged to 512 or more


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


def truth_panels(
    records: Iterable[Record], lesion_classes: Sequence[str], image_classes: Sequence[str]
) -> Iterator[Panel]:
    """Slices with what the data set says of them.

    Args:
        records: dataset dicts.
        lesion_classes, image_classes: names; empty where the data set has none.
    """
    for record in records:
        lesions = true_instances(record, lesion_classes)
        image = read_slice(record["file_name"])
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
            image = np.rint(record["image"].numpy().transpose(1, 2, 0)).clip(0, 255)
            image = image[..., ::-1] if image_format == "BGR" else image
            target = record.get("instances")
            lesions = None if target is None else plain_instances(target, lesion_classes)
            image = np.ascontiguousarray(image, np.uint8)
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
        pages.append(folder / f"{stem}_{len(pages) + 1:02d}.png")
        save_figure(_contact_sheet(page, title), pages[-1])
    return pages


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
    size = (_WIDTH * columns, (_WIDTH * min(ratio, 2) + 0.5) * rows + 0.6)
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, panel in zip(axes, panels, strict=False):
        show_lesions(ax, panel.image, panel.lesions, panel.lesion_classes, False)
        ax.set_title(plain(fill(panel.caption, 48)), fontsize=9)
    figure.suptitle(plain(fill(title, 48 * columns)), fontsize=12)
    return figure
