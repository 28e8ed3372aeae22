"""What a Predictor takes: slices as files or arrays, scans as paths or Volumes.

Shapes: slices of H x W pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..data.images import IMAGE_SUFFIXES, read_slice
from ..volumes.volume import Volume, hu_problem
from ..volumes.window import LUNG, Window

Source = str | Path | np.ndarray | Volume


def is_slice(source: Source) -> bool:
    """Whether something is a slice: an array or an image file; else it is a scan."""
    if isinstance(source, str | Path):
        return Path(source).suffix.lower() in IMAGE_SUFFIXES and not Path(source).is_dir()
    return isinstance(source, np.ndarray)


def read_source(source: Source, window: str | Window | None) -> tuple[np.ndarray, str]:
    """Read a slice.

    Args:
        source: see `is_slice`.
        window: of HU; None is the papers'.

    Returns:
        (H, W, 3) uint8 RGB, and its file ("" of an array).

    Raises:
        FileNotFoundError, ValueError: a file or an array that is no slice.
    """
    if isinstance(source, np.ndarray):
        return _rgb(source, window), ""
    return read_slice(str(source)), str(source)


def _rgb(array: np.ndarray, window: str | Window | None) -> np.ndarray:
    """A slice as the networks take it, (H, W, 3) uint8."""
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size:
        return array
    if array.ndim != 2 or not array.size or array.dtype.kind not in "iuf":
        raise ValueError(
            f"found an array of shape {array.shape} and type {array.dtype}, expected a slice: "
            "(H, W) or (H, W, 3) uint8, or (H, W) of HU; give a scan as a Volume"
        )
    if array.dtype == np.uint8:
        grey = array
    else:
        problem = hu_problem(array) if np.isfinite(array).all() else "found NaN or infinity"
        if problem:
            raise ValueError(f"an array of type {array.dtype}: {problem}")
        grey = (LUNG if window is None else Window.parse(window)).to_uint8(array)
    return np.repeat(grey[..., np.newaxis], 3, axis=-1)
