"""Figures for people: a slice beside its truth and its prediction."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from .paper_figures import save_figure


def save_panels(path: Path, panels: Sequence[tuple[str, np.ndarray]], title: str) -> None:
    """Save pictures side by side, each under its caption.

    Args:
        path: PNG file.
        panels: (caption, (H, W, 3) uint8 RGB) pairs.
        title: line above all of them.
    """
    # Panels of about 580 pixels: overlays are 512 or more, and shrinking them would lose lines.
    figure = Figure(figsize=(5 * len(panels), 5.5), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (caption, image) in zip(axes, panels, strict=True):
        ax.imshow(image)
        ax.set_title(caption, fontsize=10)
        ax.set_axis_off()
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)
