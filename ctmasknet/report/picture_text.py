"""Text in pictures, in letters of most languages: OpenCV's own fonts have English ones alone."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_FONT = "fonts/ttf/DejaVuSans.ttf"  # of Matplotlib, as in the figures
_SIZE, _LETTER, _MARGIN = 12, 8, 1  # pixels; wide letters are broader than that, most narrower


def text_picture(text: str, colour: tuple[int, int, int], width: int) -> np.ndarray:
    """Write a text on black, on as many lines as a picture of `width` pixels makes of it.

    Returns (h, w, 3) uint8 RGB with h and w of the text; w is at most `width`.
    """
    lines = [fill(line, max(width // _LETTER, 1)) for line in text.split("\n")]
    return _drawn("\n".join(lines), colour)[:, :width]


@cache
def _drawn(text: str, colour: tuple[int, int, int]) -> np.ndarray:
    font = _font()
    left, top, right, bottom = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox(
        (0, 0), text, font, spacing=2
    )
    size = round(right - left) + 2 * _MARGIN, round(bottom - top) + 2 * _MARGIN
    picture = Image.new("RGB", size)
    place = (_MARGIN - left, _MARGIN - top)
    ImageDraw.Draw(picture).multiline_text(place, text, colour, font, spacing=2)
    return np.asarray(picture)


@cache
def _font() -> ImageFont.FreeTypeFont:
    found = find_spec("matplotlib")  # its files are enough: importing it takes time
    assert found is not None and found.origin is not None
    return ImageFont.truetype(Path(found.origin).with_name("mpl-data") / _FONT, _SIZE)
