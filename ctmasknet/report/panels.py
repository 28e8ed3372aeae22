"""Panels of figures: a slice with its lesions, a score map, pictures side by side.

Slices and pictures are (H, W, 3) uint8 RGB.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from ..figures import BLACK, lesion_colour, plain_lines, save_figure
from ..inference.predictions import Instance
from ..modeling.mask_head import MASK_CUT
from .overlay import draw_instances, enlargement, instance_labels
from .score_maps import HALF_RANGE, colour_table, score_map_picture

_LETTERS = 40  # on a line of a label: about half a panel


def save_panels(path: Path, panels: Sequence[tuple[str, np.ndarray]], title: str) -> None:
    """Save (caption, picture) pairs side by side under a title, as PNG."""
    figure, axes = row_of_panels(len(panels), 5.5)
    for ax, (caption, image) in zip(axes, panels, strict=True):
        _show(ax, image)
        ax.set_title(caption, fontsize=10)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def row_of_panels(count: int, height: float) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with panels side by side, its height in inches.

    Panels are 5 inches wide, about 580 pixels: smaller pictures would lose their lines.
    """
    figure = Figure(figsize=(5 * count, height), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


def show_lesions(
    ax: Axes,
    image: np.ndarray,
    instances: Sequence[Instance],
    class_names: Sequence[str],
    with_scores: bool = True,
) -> None:
    """Show a slice with its lesions; the order of the class names gives the colours."""
    _show(ax, draw_instances(image, instances, class_names, labels=()))
    factor = enlargement(image.shape[:2])
    labels = instance_labels(instances, class_names, with_scores)
    # Written by the figure: letters in the picture would shrink with a large slice.
    for found, label in reversed(list(zip(instances, labels, strict=True))):
        width = min(len(label), _LETTERS) / (2 * _LETTERS) * image.shape[1]
        is_right = found.box[0] + width > image.shape[1]
        text = plain_lines(label, _LETTERS)
        ax.text(
            (max(found.box[2], width) if is_right else found.box[0]) * factor,
            max(found.box[1], 0.03 * image.shape[0] * (1 + text.count("\n"))) * factor,
            text,
            color=lesion_colour(class_names.index(found.lesion_class)),
            fontsize=7,
            va="bottom",
            ha="right" if is_right else "left",
            bbox={"facecolor": BLACK, "edgecolor": "none", "pad": 1} if label else None,
            in_layout=False,
        )


def show_scores(ax: Axes, score_map: np.ndarray) -> None:
    """Show a score map with its scale; see `score_map_picture`."""
    _show(ax, score_map_picture(score_map))
    scale = Normalize(MASK_CUT - HALF_RANGE, MASK_CUT + HALF_RANGE)
    colours = ScalarMappable(scale, ListedColormap(colour_table() / 255))
    bar = ax.figure.colorbar(colours, ax=ax, extend="both", shrink=0.8, pad=0.02)
    bar.set_label("highest raw mask logit")
    ticks = [MASK_CUT + step for step in (-6, -3, 0, 3, 6)]
    bar.set_ticks(ticks, labels=[f"{tick:g}" + " (cut)" * (tick == MASK_CUT) for tick in ticks])


def _show(ax: Axes, picture: np.ndarray) -> None:
    ax.imshow(picture)
    ax.set_axis_off()
