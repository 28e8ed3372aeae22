"""Lung masks that are given as files."""

import itertools
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..data.images import read_mask, require_readable
from ..errors import collecting
from ..lung import LungMask
from ..volumes import sitk
from ..volumes.safe_reader import VOLUME_SUFFIXES, cannot_read, checked_reader, volume_suffix
from ..volumes.sitk_headers import unpacked_nifti
from ..volumes.volume import Volume, upright_volume
from .lobes import find_lobes


def read_lung_mask(path: str | os.PathLike, volume: Volume) -> LungMask:
    """Read the lung mask of a volume, nonzero in the lung, from a file with one of VOLUME_SUFFIXES.

    With five values it is a label map of the lobes (`find_lobes`). It is turned upright, and its
    corners must lie within half a pixel of the volume's; without a known geometry its size alone
    must fit. Raises a FileNotFoundError if there is no such file, a ValueError if it cannot be
    read, does not fit, or is empty, or if its five values do not lie as lobes.
    """
    path = Path(path)
    require_readable(path)
    if not volume_suffix(path):
        raise ValueError(
            f"{path}: no mask of a volume, expected one of {', '.join(VOLUME_SUFFIXES)}"
        )
    try:
        with unpacked_nifti(path) if ".nii" in volume_suffix(path) else nullcontext(path) as file:
            image = checked_reader(file, path)[0].Execute()
    except RuntimeError:
        raise cannot_read(path, path, "found no usable pixels") from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(
            f"{path}: found {image.GetDimension()} dimensions of "
            f"'{image.GetPixelIDTypeAsString()}', expected a lung mask of 3 dimensions of numbers"
        )
    direction = np.array(image.GetDirection()).reshape(3, 3)
    values, spacing = sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]
    given = upright_volume(values, spacing, image.GetOrigin(), direction, path, errors=collecting())
    _check_geometry(given, volume)
    lung = _given(given.hu, path)
    try:
        lobes = find_lobes(given.hu)
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


def _check_geometry(given: Volume, volume: Volume) -> None:
    same = given.hu.shape == volume.hu.shape
    if same and volume.measured:
        distances = np.linalg.norm(_corners(given) - _corners(volume), axis=1)
        same = distances.max() <= volume.spacing[2] / 2
    if not same:
        raise ValueError(
            f"{given.source}: found a lung mask of {_geometry(given)}; expected that of the scan "
            f"{volume.source}, {_geometry(volume)}: resample the mask to the scan"
        )


def _corners(volume: Volume) -> np.ndarray:
    """Return the places of the corner voxels: (8, 3), x y z in mm."""
    lengths = [(count - 1) * mm for count, mm in zip(volume.hu.shape, volume.spacing, strict=True)]
    corners = np.array(list(itertools.product((0, 1), repeat=3))) * lengths[::-1]
    return volume.origin + corners @ volume.direction.T


def _geometry(volume: Volume) -> str:
    size = " x ".join(map(str, volume.hu.shape))
    if not volume.measured:
        return f"{size} voxels (z, y, x)"
    spacing = " x ".join(f"{mm:.4g}" for mm in volume.spacing)
    corners = " to ".join(str(_corners(volume)[corner].round(1).tolist()) for corner in (0, -1))
    return f"{size} voxels (z, y, x) of {spacing} mm, from x, y, z = {corners} mm"
