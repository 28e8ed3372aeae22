"""Figures of data sets as files: the papers' figures of slices, and what training sees."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils.env import seed_all_rng
from tqdm import tqdm

from ..data.images import read_slice
from ..data.registration import read_dataset
from ..engine import Trainer
from ..figures import save_figure
from ..inference.predictor import Predictor
from ..wording import NOTICE
from .data_figures import Panel, save_contact_sheets, training_panels, truth_panels
from .dataset_slices import DatasetSlice, class_names, spread_over
from .paper_figures import figure_2, slice_name
from .ranked_box_figure import figure_3


def save_paper_figures(predictor: Predictor, slices: Sequence[DatasetSlice], folder: Path) -> None:
    """Save <slice>_figure2.png and, with a CT-Mask-Net, <slice>_figure3.png.

    Args:
        predictor: its answers are drawn.
        slices: with their truth, as far as it is known.
        folder: for the figures, made if needed.
    """
    foot = NOTICE
    if any(model.get("phantom") for model in predictor.describe()["models"]):
        foot += " Trained on phantoms: knows only phantoms."
    for one in tqdm(slices, "figures", unit="slice", disable=None):
        image = read_slice(one.file)
        (prediction,) = predictor.predict_slices([(image, one.file)])
        figure = figure_2(image, prediction, predictor.score_map(image), one.lesions, one.label)
        save_figure(figure, folder / f"{one.stem}_figure2.png", foot)
        if prediction.ranked_boxes is not None:
            figure = figure_3(prediction.ranked_boxes, slice_name(one.file))
            save_figure(figure, folder / f"{one.stem}_figure3.png", foot)


def save_truth(cfg: CfgNode, count: int, folder: Path) -> Iterator[Path]:
    """Save slices of each training data set with their true lesions and classes.

    Args:
        cfg: of a training; its data sets are registered.
        count: at most so many slices of each, at equal distances; 1 or more.
        folder: for the pages, made if needed.

    Yields:
        The pages, <folder>/truth_<data set>_01.png, ..., as they are written.
    """
    for name in cfg.DATASETS.TRAIN:
        records = read_dataset(name)
        chosen = [records[index] for index in spread_over(records, count)]
        title = f"{name}: {len(chosen)} of {len(records)} slices"
        panels = truth_panels(chosen, *class_names(name))
        yield from _save_pages(panels, len(chosen), folder, f"truth_{name}", title)


def save_batches(cfg: CfgNode, count: int, folder: Path) -> Iterator[Path]:
    """Save slices as training gets them, after augmentation, before the model normalises them.

    Args:
        cfg: of a training; its data sets are registered.
        count: the first so many slices.
        folder: for the pages, made if needed.

    Yields:
        The pages, <folder>/batches_01.png, ...
    """
    seed_all_rng(cfg.SEED if cfg.SEED >= 0 else None)
    loader = Trainer.build_train_loader(cfg)
    names = class_names(cfg.DATASETS.TRAIN[0])
    panels = islice(training_panels(loader, cfg.INPUT.FORMAT, *names), count)
    title = f"training batches of {cfg.SOLVER.IMS_PER_BATCH}: {', '.join(cfg.DATASETS.TRAIN)}"
    with warnings.catch_warnings():
        # Decoded masks are read-only, and Detectron2 only reads them.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        yield from _save_pages(panels, count, folder, "batches", title)


def _save_pages(
    panels: Iterable[Panel], count: int, folder: Path, stem: str, title: str
) -> list[Path]:
    bar = tqdm(panels, stem, count, unit="slice", disable=None)
    return save_contact_sheets(bar, folder, stem, title)
