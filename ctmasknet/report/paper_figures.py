"""What the model saw in a slice: the papers' figure, and pictures side by side.

Source: Ter-Sarkisov 2020, the paper on lightweight models, Figure 2.
Shapes: a slice of H x W pixels, C image classes.
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

from ..figures import BLACK, BLUE, GREY, VERMILION, lesion_colour, plain, save_figure
from ..inference.predictions import Classification, Instance, SlicePrediction
from ..modeling.mask_head import MASK_CUT
from ..wording import counted
from .overlay import draw_instances, enlargement, instance_labels

# Blue below the cut, pale at it, red above it: perceptual, and told apart by the colour-blind. The
# range is fixed, so that slices can be compared; nearly all of the demo's mask logits on phantoms
# lie in it.
_MAP, _HALF_RANGE = colormaps["RdBu_r"], 6.0
_NORM = Normalize(MASK_CUT - _HALF_RANGE, MASK_CUT + _HALF_RANGE)
_OUTSIDE = (48, 48, 48)  # of every box


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
    instances, answer = prediction.instances, prediction.classification
    true_classes = [x.lesion_class for x in truth or ()]
    names = tuple(dict.fromkeys([*prediction.lesion_classes, *true_classes]))
    panels: dict[str, Callable[[Axes], None]] = {
        f"predicted: {counted(len(instances), 'lesion')}": (
            lambda ax: show_lesions(ax, image, instances, names)
        )
    }
    if score_map is not None:
        panels["score map"] = lambda ax: _show_scores(ax, score_map)
    if truth is not None:
        title = f"truth: {counted(len(truth), 'lesion')}"
        panels[title] = lambda ax: show_lesions(ax, image, truth, names, False)
    if answer is not None and answer.logits is not None:
        panels["class logits (probabilities)"] = lambda ax: _show_logits(ax, answer, label)
    height = min(max(4.4 * image.shape[0] / image.shape[1], 2.5), 8) + 1
    figure, axes = _row(len(panels), height)
    for ax, (title, draw) in zip(axes, panels.items(), strict=True):
        draw(ax)
        ax.set_title(title, fontsize=11)
    title = _slice_title(prediction, label)
    figure.suptitle(plain(fill(title, 60 * len(panels))), fontsize=12)
    return figure


def save_panels(path: Path, panels: Sequence[tuple[str, np.ndarray]], title: str) -> None:
    """Save pictures side by side, each under its caption.

    Args:
        path: PNG file.
        panels: (caption, (H, W, 3) uint8 RGB) pairs.
        title: line above all of them.
    """
    figure, axes = _row(len(panels), 5.5)
    for ax, (caption, image) in zip(axes, panels, strict=True):
        _show(ax, image)
        ax.set_title(caption, fontsize=10)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


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
    _show(ax, draw_instances(image, instances, class_names, labels=()))
    factor = enlargement(image.shape[:2])
    labels = instance_labels(instances, class_names, with_scores)
    # Letters of the figure, not of the picture: a large slice is shrunk, and they with it.
    for found, label in reversed(list(zip(instances, labels, strict=True))):
        is_right = found.box[0] > 0.8 * image.shape[1]
        ax.text(
            found.box[2 if is_right else 0] * factor,
            max(found.box[1] * factor, 0.03 * image.shape[0] * factor),
            plain(label),
            color=lesion_colour(class_names.index(found.lesion_class)),
            fontsize=7,
            va="bottom",
            ha="right" if is_right else "left",
            bbox={"facecolor": BLACK, "edgecolor": "none", "pad": 1} if label else None,
            in_layout=False,
        )


def slice_name(source: str) -> str:
    """What to call a slice in a title: its file is often just a number, its folder the patient."""
    return "/".join(Path(source).parts[-2:])


def _row(count: int, height: float) -> tuple[Figure, Sequence[Axes]]:
    """Panels 5 inches wide, 580 pixels or so: shrinking overlays would lose their lines."""
    figure = Figure(figsize=(5 * count, height), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _slice_title(prediction: SlicePrediction, label: str | None) -> str:
    parts = [slice_name(prediction.source)] if prediction.source else []
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
    colours = ScalarMappable(_NORM, _MAP)
    bar = ax.figure.colorbar(colours, ax=ax, extend="both", shrink=0.8, pad=0.02)
    bar.set_label("highest raw mask logit")
    ticks = [MASK_CUT + step for step in (-6, -3, 0, 3, 6)]
    bar.set_ticks(ticks, labels=[f"{tick:g}" + " (cut)" * (tick == MASK_CUT) for tick in ticks])


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
