"""What a Predictor takes: slices as files or arrays, scans as paths or Volumes.

Shapes: slices of H x W pixels.
"""

from pathlib import Path

import numpy as np

from ..data.images import read_slice
from ..volumes.formats import is_image
from ..volumes.volume import Volume, hu_problem
from ..volumes.window import LUNG, Window

Source = str | Path | np.ndarray | Volume


def is_slice(source: Source) -> bool:
    """Return whether something is a slice: an array or an image file; else it is a scan."""
    if isinstance(source, str | Path):
        return is_image(Path(source)) and not Path(source).is_dir()
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
    if not isinstance(source, np.ndarray):
        return read_slice(str(source)), str(source)
    if source.dtype == np.uint8 and source.ndim == 3 and source.shape[2] == 3 and source.size:
        return source, ""
    if source.ndim != 2 or not source.size or source.dtype.kind not in "iuf":
        raise ValueError(
            f"found an array of shape {source.shape} and type {source.dtype}, expected a slice: "
            "(H, W) or (H, W, 3) uint8, or (H, W) of HU; give a scan as a Volume"
        )
    grey = source
    if grey.dtype != np.uint8:
        problem = hu_problem(source) if np.isfinite(source).all() else "found NaN or infinity"
        if problem:
            raise ValueError(f"an array of type {source.dtype}: {problem}")
        grey = Window.parse(LUNG if window is None else window).to_uint8(source)
    return np.repeat(grey[..., np.newaxis], 3, axis=-1), ""
