"""The papers' figures of a slice: what the model saw, and the boxes it classified from.

Source: Ter-Sarkisov 2020, the paper on lightweight models, Figures 2 and 3.
Shapes: a slice of H x W pixels, n different ranked boxes, N rows of the ranked tensor, C image
classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from ..data.classes import NOTICE
from ..modeling.mask_head import MASK_CUT
from ..whole_files import whole_file
from .overlay import COLOURS, draw_plain_instances, enlargement, instance_labels
from .predictions import Classification, Instance, RankedBoxTable, SlicePrediction

TOP = 16  # boxes that the paper shows beside all of them

# Blue below the cut, pale at it, red above it: perceptual, and told apart by the colour-blind. The
# range is fixed, so that slices can be compared: on phantoms nine in ten mask logits lie in it.
_MAP, _HALF_RANGE = colormaps["RdBu_r"], 6.0
_NORM = Normalize(MASK_CUT - _HALF_RANGE, MASK_CUT + _HALF_RANGE)
_OUTSIDE = (48, 48, 48)  # of every box
_PREDICTED, _OTHER, _TRUE = "#0072b2", "#999999", "#d55e00"


def score_map_picture(score_map: np.ndarray) -> np.ndarray:
    """Colour a map of raw mask logits.

    Args:
        score_map: (H, W) float, NaN outside all boxes; see `Predictor.score_map`.

    Returns:
        (H, W, 3) uint8 RGB: a fixed scale from logit -5.5 (dark blue) to 6.5 (dark red), pale at
        the masks' cut of 0.5, values beyond it as its ends; dark grey where there is no box.
    """
    picture = _MAP(_NORM(np.nan_to_num(score_map, nan=MASK_CUT)), bytes=True)[..., :3].copy()
    picture[np.isnan(score_map)] = _OUTSIDE
    return picture


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
    names = tuple(
        dict.fromkeys([*prediction.lesion_classes, *(x.lesion_class for x in truth or ())])
    )
    panels: list[tuple[str, Callable[[Axes], None]]] = [
        (
            f"predicted: {_counted(len(prediction.instances))}",
            lambda ax: show_lesions(ax, image, prediction.instances, names),
        )
    ]
    if score_map is not None:
        panels.append(("score map", lambda ax: _show_scores(ax, score_map)))
    if truth is not None:
        title = f"truth: {_counted(len(truth))}"
        panels.append((title, lambda ax: show_lesions(ax, image, truth, names, False)))
    classification = prediction.classification
    if classification is not None and classification.logits is not None:
        panels.append(
            ("class logits (probabilities)", lambda ax: _show_logits(ax, classification, label))
        )
    height = min(max(4.4 * image.shape[0] / image.shape[1], 2.5), 8) + 1
    figure = Figure(figsize=(5 * len(panels), height), layout="constrained")
    for ax, (title, draw) in zip(_row(figure, len(panels)), panels, strict=True):
        draw(ax)
        ax.set_title(title, fontsize=11)
    title = _slice_title(prediction, label)
    figure.suptitle(fill(title, 60 * len(panels)).replace("$", r"\$"), fontsize=12)
    return figure


def figure_3(ranked: RankedBoxTable) -> Figure:
    """Draw the scores of the ranked boxes, and scores over areas, for the best 16 and for all.

    Args:
        ranked: boxes in pixels of the slice. With 16 boxes or fewer there is one row of panels.
    """
    count = len(ranked.boxes)
    groups = [("all", count)]
    if count > TOP:
        groups.insert(0, ("top", TOP))
    figure = Figure(figsize=(10, 3.4 * len(groups) + 0.5), layout="constrained")
    axes = figure.subplots(len(groups), 2, squeeze=False, sharex="col")
    for (left, right), (what, shown) in zip(axes, groups, strict=True):
        title = f"{what} {shown} box{'' if shown == 1 else 'es'}"
        _score_histogram(left, ranked.scores[:shown], title)
        _score_over_area(right, ranked, shown, title)
    figure.suptitle(
        f"{count} ranked box{'' if count == 1 else 'es'} fill the {len(ranked.rows)} rows that "
        "the slice was classified from",
        fontsize=12,
    )
    return figure


def show_lesions(
    ax: Axes,
    image: np.ndarray,
    instances: Sequence[Instance],
    class_names: Sequence[str],
    with_scores: bool = True,
) -> None:
    """Show a slice with its lesions in a panel.

    Args:
        ax: the panel.
        image: (H, W, 3) uint8 RGB.
        instances: with or without masks.
        class_names: of all lesion classes; their order gives the colours.
        with_scores: write the scores beside the boxes.
    """
    _show(ax, draw_plain_instances(image, instances, class_names, labels=()))
    factor = enlargement(image.shape[:2])
    labels = instance_labels(instances, class_names, with_scores)
    # Letters of the figure, not of the picture: a large slice is shrunk, and they with it.
    for found, label in reversed(list(zip(instances, labels, strict=True))):
        colour = COLOURS[class_names.index(found.lesion_class) % len(COLOURS)]
        is_right = found.box[0] > 0.8 * image.shape[1]
        ax.text(
            found.box[2 if is_right else 0] * factor,
            max(found.box[1] * factor, 0.03 * image.shape[0] * factor),
            label.replace("$", r"\$"),
            color=np.array(colour) / 255,
            fontsize=7,
            va="bottom",
            ha="right" if is_right else "left",
            bbox={"facecolor": "black", "edgecolor": "none", "pad": 1} if label else None,
            in_layout=False,
        )


def save_figure(figure: Figure, path: Path) -> None:
    """Save a figure with the notice at its foot.

    Args:
        figure: without one yet.
        path: PNG file; its folder is made.
    """
    figure.supxlabel(NOTICE, fontsize=8)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=120)


def _row(figure: Figure, count: int) -> list[Axes]:
    return list(figure.subplots(1, count, squeeze=False)[0])


def _counted(lesions: int) -> str:
    return f"{lesions} lesion{'' if lesions == 1 else 's'}"


def _slice_title(prediction: SlicePrediction, label: str | None) -> str:
    # A slice's file is often just a number: the folder tells the patient.
    parts = ["/".join(Path(prediction.source).parts[-2:])] if prediction.source else []
    answer = prediction.classification
    if answer is not None:
        parts.append(f"classified as {answer.image_class} ({answer.probabilities.max():.0%})")
    if label is not None:
        parts.append(f"truly {label}")
    return ", ".join(parts)


def _show(ax: Axes, picture: np.ndarray) -> None:
    ax.imshow(picture)
    ax.set_axis_off()


def _show_scores(ax: Axes, score_map: np.ndarray) -> None:
    _show(ax, score_map_picture(score_map))
    bar = ax.figure.colorbar(
        ScalarMappable(_NORM, _MAP), ax=ax, extend="both", shrink=0.8, pad=0.02
    )
    bar.set_label("highest raw mask logit")
    ticks = [MASK_CUT + step for step in (-6, -3, 0, 3, 6)]
    bar.set_ticks(ticks, labels=[f"{tick:g}" + " (cut)" * (tick == MASK_CUT) for tick in ticks])


def _show_logits(ax: Axes, classification: Classification, label: str | None) -> None:
    names, logits = classification.class_names, classification.logits
    assert logits is not None
    colours = [_PREDICTED if n == classification.image_class else _OTHER for n in names]
    places = range(len(names))
    ax.barh(places, logits, color=colours, height=0.6)
    ax.axvline(0, color="black", linewidth=0.8)
    # Values stand at the names: beside long bars there would be no room for them.
    lines = [
        fill(name, 16).replace("$", r"\$")
        + " (true)" * (name == label)
        + f"\n{logit:.2f} ({p:.0%})"
        for name, logit, p in zip(names, logits, classification.probabilities, strict=True)
    ]
    ax.set_yticks(places, lines)
    ax.tick_params(axis="y", length=0)  # a tick before a number would look like its sign
    for tick, name in zip(ax.get_yticklabels(), names, strict=True):
        if name == label:
            tick.set(color=_TRUE, fontweight="bold")
    ax.set_ylim(len(names) - 0.4, -0.6)  # first class on top
    ax.set_xlabel("logit")
    ax.spines[["top", "right", "left"]].set_visible(False)


def _score_histogram(ax: Axes, scores: np.ndarray, title: str) -> None:
    ax.hist(scores, np.linspace(0, 1, 21).tolist(), color=_PREDICTED, edgecolor="white")
    ax.set(xlim=(0, 1), xlabel="score", ylabel="boxes", title=f"scores, {title}")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(ax, len(scores))


def _score_over_area(ax: Axes, ranked: RankedBoxTable, shown: int, title: str) -> None:
    x0, y0, x1, y1 = ranked.boxes.T
    # Boxes clipped at the slice's border may have no area, which a logarithm cannot show.
    areas = np.maximum((x1 - x0) * (y1 - y0), 1)[:shown]
    classes = np.array(ranked.lesion_classes[:shown], dtype=str)
    names = list(dict.fromkeys(ranked.lesion_classes))
    for name, colour in zip(names, COLOURS * len(names), strict=False):
        own = classes == name
        ax.scatter(
            areas[own],
            ranked.scores[:shown][own],
            s=28,
            color=np.array(colour) / 255,
            edgecolors="black",
            linewidths=0.5,
            alpha=0.8,
            label=name.replace("$", r"\$"),
        )
    if len(names) > 1:
        ax.legend(fontsize=9)
    ax.set(xscale="log", ylim=(-0.03, 1.03), xlabel="area of the box (px)", ylabel="score")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_title(f"scores over areas, {title}")
    _finish(ax, shown)


def _finish(ax: Axes, count: int) -> None:
    ax.title.set_fontsize(11)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    ax.tick_params(labelbottom=True)
    if not count:
        ax.text(0.5, 0.5, "no box", transform=ax.transAxes, ha="center")
