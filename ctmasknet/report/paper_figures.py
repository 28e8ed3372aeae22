"""The papers' figures of a slice: what the model saw, and the boxes it classified by.

Source: Ter-Sarkisov 2020, the paper on lightweight models, Figures 2 and 3.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from tqdm import tqdm

from ..data.images import read_slice
from ..figures import BLACK, BLUE, GREY, VERMILION, lesion_colour, plain, plain_lines, save_figure
from ..inference.predictions import Classification, Instance, RankedBoxTable, SlicePrediction
from ..inference.predictor import Predictor
from ..wording import NOTICE, counted
from .dataset_slices import DatasetSlice, slice_name
from .panels import row_of_panels, show_lesions, show_scores

TOP = 16  # boxes that the paper shows beside all of them


def save_paper_figures(predictor: Predictor, slices: Sequence[DatasetSlice], folder: Path) -> None:
    """Save <stem>_figure2.png and, with a CT-Mask-Net, <stem>_figure3.png of each slice."""
    foot = NOTICE
    if any(model.get("phantom") for model in predictor.describe()["models"]):
        foot += " Trained on phantoms: knows only phantoms."
    for one in tqdm(slices, "figures", unit="slice", disable=None):
        image = read_slice(one.file)
        (prediction,) = predictor.predict_slices([(image, one.file)])
        figure = figure_2(
            image, prediction, predictor.score_map(image, prediction.field), one.lesions, one.label
        )
        save_figure(figure, folder / f"{one.stem}_figure2.png", foot)
        if prediction.ranked_boxes is not None:
            figure = figure_3(
                prediction.ranked_boxes, slice_name(one.file), prediction.lesion_classes
            )
            save_figure(figure, folder / f"{one.stem}_figure3.png", foot)


def figure_2(
    image: np.ndarray,
    prediction: SlicePrediction,
    score_map: np.ndarray | None = None,
    truth: Sequence[Instance] | None = None,
    label: str | None = None,
) -> Figure:
    """Draw a slice, (H, W, 3) uint8 RGB, with its lesions, and beside it what else is given.

    Args:
        score_map: (H, W) float32; see `Predictor.score_map`.
        truth: the true lesions, () of a healthy slice; None if unknown.
        label: the true class; None if unknown.

    Raises:
        ValueError: the image, the prediction and the score map differ in size.
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


def figure_3(ranked: RankedBoxTable, name: str = "", lesion_classes: Sequence[str] = ()) -> Figure:
    """Draw the scores of the ranked boxes, and scores over areas: of the best 16 and of all.

    The order of the lesion classes gives their colours, so that they are those of the pictures.
    """
    count = len(ranked.boxes)
    groups = [("top", TOP)] * (count > TOP) + [("all", count)]
    figure = Figure(figsize=(10, 3.4 * len(groups) + 0.5), layout="constrained")
    axes = figure.subplots(len(groups), 2, squeeze=False, sharex="col")
    for (left, right), (what, shown) in zip(axes, groups, strict=True):
        _score_histogram(left, ranked.scores[:shown])
        _score_over_area(right, ranked, shown, lesion_classes)
        for ax, title in ((left, "scores"), (right, "scores over areas")):
            ax.set_title(f"{title}, {what} {counted(shown, 'box')}", fontsize=11)
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(alpha=0.25)
            ax.tick_params(labelbottom=True)
            if not shown:
                ax.text(0.5, 0.5, "no box", transform=ax.transAxes, ha="center")
    title = (
        f"{counted(count, 'ranked box')} fill the {len(ranked.rows)} rows that the slice was "
        "classified from"
    )
    title = f"{fill(name, 100)}\n{title}" if name else title
    figure.suptitle(plain(title), fontsize=12)
    return figure


def _score_histogram(ax: Axes, scores: np.ndarray) -> None:
    ax.hist(scores, np.linspace(0, 1, 21).tolist(), color=BLUE, edgecolor="white")
    ax.set(xlim=(0, 1), xlabel="score", ylabel="boxes")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))


def _score_over_area(
    ax: Axes, ranked: RankedBoxTable, shown: int, lesion_classes: Sequence[str]
) -> None:
    x0, y0, x1, y1 = ranked.boxes.T
    # Boxes clipped at the slice's border may have no area, which a logarithm cannot show.
    areas = np.maximum((x1 - x0) * (y1 - y0), 1)[:shown]
    classes = np.array(ranked.lesion_classes[:shown], dtype=str)
    found = set(ranked.lesion_classes)
    for index, name in enumerate(dict.fromkeys([*lesion_classes, *ranked.lesion_classes])):
        if name not in found:
            continue
        own = classes == name
        ax.scatter(
            areas[own],
            ranked.scores[:shown][own],
            s=28,
            color=lesion_colour(index),
            edgecolors=BLACK,
            linewidths=0.5,
            alpha=0.8,
            label=plain_lines(name),
        )
    if len(found) > 1:
        ax.legend(fontsize=9)
    ax.set(xscale="log", ylim=(-0.03, 1.03), xlabel="area of the box (px)", ylabel="score")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())
