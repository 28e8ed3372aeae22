"""One palette for every figure, and one way to save a figure or to embed it in a page.

Matplotlib is imported where a figure is drawn: the palette alone costs nothing.
"""

import base64
import colorsys
import io
import math
import os
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .atomic_write import atomic_write
from .wording import NOTICE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart as well.
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#e69f00", "#009e73", "#cc79a7"
VERMILION, SKY, BLACK = "#d55e00", "#56b4e9", "#000000"
GREY, DARK_GREY = "#999999", "#555555"
# Of lines; with grey for their yellow, which is too pale on white.
LINE_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY, BLACK, GREY)
LINE_STYLES = ("-", "--", "-.", ":")
_LESION_COLOURS = (ORANGE, SKY, PURPLE)  # bright on lung
_GOLDEN_RATIO = (1 + math.sqrt(5)) / 2


def lesion_colour(index: int) -> str:
    """Return the colour of a lesion class, given its index, as "#rrggbb": bright, each another."""
    if index < len(_LESION_COLOURS):
        return _LESION_COLOURS[index]
    return _spread_colour(index, start=0.15, lightness=0.7)


def line_colour(index: int) -> str:
    """Return the colour of a line on white, given its index, as "#rrggbb", each another."""
    if index < len(LINE_COLOURS):
        return LINE_COLOURS[index]
    return _spread_colour(index, start=0.0, lightness=0.35)


def _spread_colour(index: int, start: float, lightness: float) -> str:
    """Return a colour whose hue is far from those of the indices before it."""
    hue = (start + index * _GOLDEN_RATIO) % 1
    red, green, blue = (round(255 * x) for x in colorsys.hls_to_rgb(hue, lightness, 0.9))
    return f"#{red:02x}{green:02x}{blue:02x}"


def rgb(colour: str) -> tuple[int, int, int]:
    """Turn "#rrggbb" into red, green and blue, 0 to 255 each."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def plain(text: str) -> str:
    """Escape the dollars of a text, which Matplotlib would read as formulas."""
    return text.replace("$", r"\$")


def plain_lines(text: str, width: int = 40) -> str:
    """Do the same, on lines of at most `width` letters, so that long names are not cut off."""
    return plain(fill(text, width))


def save_figure(
    figure: "Figure", path: str | os.PathLike, foot: str = NOTICE, tight: bool = False
) -> None:
    """Save a figure as PNG, whole or not at all, with a line below its axes ("" for none).

    `tight` cuts the figure to what is drawn: beside square cells the layout loses labels.
    """
    if foot:
        figure.supxlabel(foot, fontsize=8)
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=120, bbox_inches="tight" if tight else None)


def svg_uri(picture: str) -> str:
    """Return an SVG picture as a data URI."""
    return _data_uri("svg+xml", io.BytesIO(picture.encode()))


def figure_uri(figure: "Figure") -> str:
    """Return a figure as an SVG data URI, the same bytes each time."""
    import matplotlib

    stream = io.BytesIO()
    # A fixed salt and no date, which Matplotlib would otherwise choose.
    with matplotlib.rc_context({"svg.hashsalt": "ctmasknet"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return _data_uri("svg+xml", stream)


def picture_uri(picture: np.ndarray, side: int, kind: str, quality: int) -> str:
    """Return (H, W, 3) uint8 RGB as a JPEG or WebP data URI, no side longer than `side` pixels.

    Kind is "jpeg" or "webp", quality 0 to 100.
    """
    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, kind, quality=quality)
    return _data_uri(kind, stream)


def _data_uri(kind: str, stream: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
