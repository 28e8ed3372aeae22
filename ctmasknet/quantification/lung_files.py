"""Lung masks that are given as files."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..data.images import read_mask
from ..lung import LungMask
from ..volumes.label_files import read_labels
from ..volumes.volume import Volume
from .lobes import find_lobes


def read_lung_mask(path: str | os.PathLike, volume: Volume) -> LungMask:
    """Read the lung mask of a volume, nonzero in the lung, from a file with one of VOLUME_SUFFIXES.

    With five values it is a label map of the lobes (`find_lobes`). It is turned upright, and its
    corners must lie within half a pixel of the volume's; without a known geometry its size alone
    must fit. Raises a FileNotFoundError if there is no such file, a ValueError if it cannot be
    read, does not fit, or is empty, or if its five values do not lie as lobes.
    """
    path = Path(path)
    values, _ = read_labels(path, volume, "lung mask")
    lung = _given(values, path)
    try:
        lobes = find_lobes(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if lobes is None:
        return lung
    return replace(lung, lobes=lobes, method=f"{lung.method}, with lobes")


def read_lung_image(path: str | os.PathLike, size: tuple[int, int]) -> LungMask:
    """Read the lung mask (1, H, W) of a single slice of (H, W), from an image as for `read_mask`.

    It is nonzero in the lung; errors as `read_lung_mask`.
    """
    values = read_mask(path)
    if values.shape != tuple(size):
        raise ValueError(
            f"{path}: found a lung mask of the size {values.shape} (height, width), expected "
            f"{tuple(size)} as the slice: give the mask of this slice"
        )
    return _given(values[np.newaxis], Path(path))


def _given(values: np.ndarray, path: Path) -> LungMask:
    mask = values > 0
    if not mask.any():
        raise ValueError(f"{path}: found an empty lung mask, expected values above 0 in the lung")
    low, high = values.min(), values.max()
    if low < 0 or high > 255 or (values != np.floor(values)).any():
        raise ValueError(
            f"{path}: found values from {low:g} to {high:g}, expected a lung mask: 0, and whole "
            "numbers up to 255 in the lung; is it the scan itself?"
        )
    return LungMask(mask, f"given as {path.name}", grows=False)
