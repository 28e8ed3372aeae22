"""CT windows: HU -> the 8-bit grey values that the models take, and back."""

import difflib
import logging
import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from .classes import WINDOW_LEVEL, WINDOW_WIDTH

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """A range of HU that is spread over the grey values 0 to 255.

    Args:
        width: of the range in HU, above 0.
        level: its middle in HU.
    """

    width: float
    level: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.width) and math.isfinite(self.level) and self.width > 0):
            raise ValueError(
                f"window {self}: expected a width above 0 and a level, both in HU (e.g. {LUNG})"
            )

    def __str__(self) -> str:
        return f"{self.width:g},{self.level:g}"

    @property
    def low(self) -> float:
        """The HU that becomes 0, as does everything below."""
        return self.level - self.width / 2

    @property
    def high(self) -> float:
        """The HU that becomes 255, as does everything above."""
        return self.level + self.width / 2

    @classmethod
    def parse(cls, text: "str | Window") -> "Window":
        """Parse "lung" (a name in WINDOWS) or "1500,-600" (width, level); a Window stays itself.

        Raises:
            ValueError: anything else; the message has the nearest name.
        """
        if isinstance(text, Window):
            return text
        name = text.strip().lower()
        if name in WINDOWS:
            return WINDOWS[name]
        try:
            width, level = (float(part) for part in text.split(","))
        except ValueError:
            near = difflib.get_close_matches(name, WINDOWS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            names = ", ".join(f"{name} ({window})" for name, window in WINDOWS.items())
            raise ValueError(
                f"window '{text}': expected WIDTH,LEVEL in HU (e.g. {LUNG}) or one of {names}{hint}"
            ) from None
        return cls(width, level)

    def to_uint8(self, hu: np.ndarray) -> np.ndarray:
        """Apply the window.

        Args:
            hu: (..., Y, X) of any real type. It is computed in float64, so that whole HU give the
                same grey values in every type.

        Returns:
            (..., Y, X) uint8: `low` and below -> 0, `high` and above -> 255, rounded.

        Raises:
            ValueError: there are NaNs.
        """
        if hu.ndim > 2:  # slice by slice takes less memory
            grey = np.empty(hu.shape, np.uint8)
            for index, part in enumerate(hu):
                grey[index] = self.to_uint8(part)
            return grey
        scaled = (hu.astype(np.float64) - self.low) * (255 / self.width)
        if np.isnan(scaled).any():
            raise ValueError(
                f"found {np.isnan(scaled).sum()} values that are not numbers (NaN), expected HU"
            )
        return np.rint(scaled.clip(0, 255)).astype(np.uint8)

    def to_hu(self, grey: np.ndarray) -> np.ndarray:
        """Return the HU (int16) of which `to_uint8` makes exactly these grey values (uint8).

        Raises:
            ValueError: the window is narrower than 256 HU, or beyond int16.
        """
        # Whole HU are rounded by up to 0.5: less than half a grey value only if one is >= 1 HU.
        if self.width < 256 or self.low < -32768 or self.high > 32767:
            raise ValueError(
                f"window {self}: 8-bit images of it cannot be turned back into whole HU, expected "
                "a width of 256 HU or more within -32768 to 32767 HU"
            )
        values = np.rint(self.low + np.arange(256) * (self.width / 255)).astype(np.int16)
        return values[grey]


LUNG = Window(WINDOW_WIDTH, WINDOW_LEVEL)

# Usual radiological settings besides the papers' own.
WINDOWS = {
    "lung": LUNG,
    "mediastinum": Window(350, 50),
    "abdomen": Window(400, 50),
    "bone": Window(1800, 400),
    "wide": Window(2000, 0),
}


@cache
def say_windowed_once(window: Window = LUNG) -> None:
    """Log, once in a process for each window, that 8-bit images are taken as already windowed."""
    _log.warning(
        "8-bit images are taken as already windowed (width %g, level %g HU)",
        window.width,
        window.level,
    )
