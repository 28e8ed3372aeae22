"""The papers' figures of slices of a data set: what the model saw, and what it classified by.

Source: Ter-Sarkisov 2020, the paper on lightweight models, Figures 2 and 3.
Shapes: a slice of H x W pixels, C image classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from ..data.images import read_slice
from ..figures import BLACK, BLUE, GREY, VERMILION, plain, save_figure
from ..inference.predictions import Classification, Instance, SlicePrediction
from ..inference.predictor import Predictor
from ..wording import NOTICE, counted
from .dataset_slices import DatasetSlice, slice_name
from .panels import row_of_panels, show_lesions, show_scores
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


def figure_2(
    image: np.ndarray,
    prediction: SlicePrediction,
    score_map: np.ndarray | None = None,
    truth: Sequence[Instance] | None = None,
    label: str | None = None,
) -> Figure:
    """Draw the slice with its lesions, the score map, the truth and the class logits, as far as
    there are any.

    Args:
        image: (H, W, 3) uint8 RGB.
        prediction: of it.
        score_map: (H, W) float32; see `Predictor.score_map`.
        truth: the slice's true lesions, none of them for a healthy slice; None if unknown.
        label: name of the true class; None if unknown.

    Raises:
        ValueError: the image, the prediction and the score map have different sizes.
    """
    sizes = {"image": image.shape[:2], "prediction": tuple(prediction.size)}
    if score_map is not None:
        sizes["score map"] = score_map.shape
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {h} x {w}" for name, (h, w) in sizes.items())
        raise ValueError(f"found sizes that differ, expected those of one slice: {found}")
    instances, answer = prediction.instances, prediction.classification
    true_classes = [x.lesion_class for x in truth or ()]
    names = tuple(dict.fromkeys([*prediction.lesion_classes, *true_classes]))
    panels: dict[str, Callable[[Axes], None]] = {
        f"predicted: {counted(len(instances), 'lesion')}": (
            lambda ax: show_lesions(ax, image, instances, names)
        )
    }
    if score_map is not None:
        panels["score map"] = lambda ax: show_scores(ax, score_map)
    if truth is not None:
        title = f"truth: {counted(len(truth), 'lesion')}"
        panels[title] = lambda ax: show_lesions(ax, image, truth, names, False)
    if answer is not None and answer.logits is not None:
        panels["class logits (probabilities)"] = lambda ax: _show_logits(ax, answer, label)
    height = min(max(4.4 * image.shape[0] / image.shape[1], 2.5), 8) + 1
    figure, axes = row_of_panels(len(panels), height)
    for ax, (title, draw) in zip(axes, panels.items(), strict=True):
        draw(ax)
        ax.set_title(title, fontsize=11)
    title = _slice_title(prediction, label)
    figure.suptitle(plain(fill(title, 60 * len(panels))), fontsize=12)
    return figure


def _slice_title(prediction: SlicePrediction, label: str | None) -> str:
    parts = [slice_name(prediction.source)] if prediction.source else []
    answer = prediction.classification
    if answer is not None:
        parts.append(f"classified as {answer.image_class} ({answer.probabilities.max():.0%})")
    if label is not None:
        parts.append(f"truly {label}")
    return ", ".join(parts)


def _show_logits(ax: Axes, classification: Classification, label: str | None) -> None:
    names, logits = classification.class_names, classification.logits
    assert logits is not None
    colours = [BLUE if name == classification.image_class else GREY for name in names]
    places = range(len(names))
    ax.barh(places, logits, color=colours, height=0.6)
    ax.axvline(0, color=BLACK, linewidth=0.8)
    # Values stand at the names: beside long bars there would be no room for them.
    lines = [
        f"{plain(fill(name, 16))}{' (true)' * (name == label)}\n{logit:.2f} ({share:.0%})"
        for name, logit, share in zip(names, logits, classification.probabilities, strict=True)
    ]
    ax.set_yticks(places, lines)
    ax.tick_params(axis="y", length=0)  # a tick before a number would look like its sign
    for tick, name in zip(ax.get_yticklabels(), names, strict=True):
        if name == label:
            tick.set(color=VERMILION, fontweight="bold")
    ax.set_ylim(len(names) - 0.4, -0.6)  # first class on top
    ax.set_xlabel("logit")
    ax.spines[["top", "right", "left"]].set_visible(False)
