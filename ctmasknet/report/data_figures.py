"""Contact sheets of what data sets hold and of what training sees."""

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from textwrap import fill

import numpy as np
from detectron2.config import CfgNode
from detectron2.utils.env import seed_all_rng
from matplotlib.figure import Figure
from tqdm import tqdm

from ..data.images import read_slice
from ..data.registration import read_dataset
from ..engine import Trainer
from ..figures import plain, save_figure
from ..inference.predictions import Instance
from ..wording import counted
from .dataset_slices import Record, class_names, slice_name, spread_over, true_instances
from .panels import show_lesions

_COLUMNS, _ROWS = 4, 4
_WIDTH = 4.6  # inches of a panel, about 540 pixels: slices are enlarged to 512 or more


@dataclass(frozen=True, eq=False)
class Panel:
    """A slice of a contact sheet, with the lesions that are drawn over it."""

    caption: str
    image: np.ndarray  # (H, W, 3) uint8 RGB
    lesions: tuple[Instance, ...]


def save_truth(cfg: CfgNode, count: int, folder: Path) -> Iterator[Path]:
    """Save slices of each training data set with their true lesions and classes.

    At most `count` of each, evenly spaced. Yields the pages, <folder>/truth_<data set>_01.png and
    so on, as they are written.
    """
    for name in cfg.DATASETS.TRAIN:
        records = read_dataset(name)
        chosen = [records[index] for index in spread_over(records, count)]
        names = class_names(name)
        bar = tqdm(chosen, f"truth_{name}", unit="slice", disable=None)
        title = f"{name}: {len(chosen)} of {len(records)} slices"
        panels = (panel_of(record, *names) for record in bar)
        yield from save_contact_sheets(panels, names[0], folder, f"truth_{name}", title)


def save_batches(cfg: CfgNode, count: int, folder: Path) -> list[Path]:
    """Save the first slices that training gets: augmented, not yet normalised by the model.

    Returns the pages, <folder>/batches_01.png and so on.
    """
    seed_all_rng(cfg.SEED if cfg.SEED >= 0 else None)
    records = islice(chain.from_iterable(Trainer.build_train_loader(cfg)), count)
    names = class_names(cfg.DATASETS.TRAIN[0])
    bar = tqdm(records, "batches", count, unit="slice", disable=None)
    title = f"training batches of {cfg.SOLVER.IMS_PER_BATCH}: {', '.join(cfg.DATASETS.TRAIN)}"
    panels = (panel_of(record, *names, cfg.INPUT.FORMAT) for record in bar)
    with warnings.catch_warnings():
        # Decoded masks are read-only, and Detectron2 only reads them.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return save_contact_sheets(panels, names[0], folder, "batches", title)


def panel_of(
    record: Record,
    lesion_classes: Sequence[str],
    image_classes: Sequence[str],
    image_format: str = "RGB",
) -> Panel:
    """Return a slice, captioned with its file, size, class and number of lesions where known.

    The record is a dataset dict, or one of a training batch, whose "image" is (3, H, W) in 0..255
    and has its channels in `image_format`.
    """
    lesions = true_instances(record, lesion_classes)
    if "image" in record:
        image = np.rint(record["image"].numpy().transpose(1, 2, 0)).clip(0, 255)
        image = image[..., ::-1] if image_format == "BGR" else image
        image = np.ascontiguousarray(image, np.uint8)
    else:
        image = read_slice(record["file_name"])
    height, width, _ = image.shape
    parts = [slice_name(record["file_name"]), f"{width} x {height}"]
    if "label" in record:
        parts.append(image_classes[record["label"]])
    if lesions is not None:
        parts.append(counted(len(lesions), "lesion"))
    return Panel(", ".join(parts), image, lesions or ())


def save_contact_sheets(
    panels: Iterable[Panel], lesion_classes: Sequence[str], folder: Path, stem: str, title: str
) -> list[Path]:
    """Save panels on pages of 4 x 4, <stem>_01.png and so on; only one page is held in memory.

    The order of the lesion classes gives their colours.
    """
    remaining = iter(panels)
    pages: list[Path] = []
    while page := list(islice(remaining, _COLUMNS * _ROWS)):
        pages.append(folder / f"{stem}_{len(pages) + 1:02d}.png")
        save_figure(_contact_sheet(page, lesion_classes, title), pages[-1])
    return pages


def _contact_sheet(panels: Sequence[Panel], lesion_classes: Sequence[str], title: str) -> Figure:
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    ratio = max(panel.image.shape[0] / panel.image.shape[1] for panel in panels)
    size = (_WIDTH * columns, (_WIDTH * min(ratio, 2) + 0.5) * rows + 0.6)
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, panel in zip(axes, panels, strict=False):
        show_lesions(ax, panel.image, panel.lesions, lesion_classes, False)
        ax.set_title(plain(fill(panel.caption, 48)), fontsize=9)
    figure.suptitle(plain(fill(title, 48 * columns)), fontsize=12)
    return figure
