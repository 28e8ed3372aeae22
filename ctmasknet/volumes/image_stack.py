"""A stack of 8-bit slices -> a Volume; spacing, position and orientation are unknown."""

import logging
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from ..data.images import read_slice
from ..data.window import say_windowed_once
from ..limits import SCAN, check_limit
from .formats import ReadOptions
from .volume import Volume, upright_volume

_log = logging.getLogger(__name__)


def read_image_stack(files: Sequence[Path], source: Path, options: ReadOptions) -> Volume:
    """Read grey slices that are windowed already, taken as upright and from feet to head.

    The images are all of one folder, in order. The HU are int16, and `measured` is False. If errors
    are collected, images that cannot be used, or differ in size from most, are left out.
    """
    folders = sorted({str(path.parent) for path in files})
    if len(folders) > 1:
        raise ValueError(
            f"{source}: found images in {len(folders)} folders ({folders[0]}, {folders[1]}, ...), "
            "expected one stack: name one of the folders"
        )
    window, errors = options.window, options.errors
    say_windowed_once(window)
    _say_order_once()
    slices: dict[Path, np.ndarray] = {}
    voxels = 0
    for path in files:
        check_limit(source, voxels, SCAN)
        try:
            slices[path] = _read_grey(path)
            voxels += slices[path].size
        except (ValueError, FileNotFoundError) as error:  # not found: a broken link
            errors.handle(error)
    if not slices:
        raise ValueError(f"{source}: found no usable image; the first: {errors.first}")
    common, count = Counter(grey.shape for grey in slices.values()).most_common(1)[0]
    kept = [path for path, grey in slices.items() if grey.shape == common]
    for path, grey in slices.items():
        if grey.shape != common:
            errors.handle(
                f"{path}: found {grey.shape[0]} x {grey.shape[1]} pixels, expected {common[0]} "
                f"x {common[1]} as in {count} of {len(slices)} images: remove the images that "
                "differ"
            )
    hu = np.empty((len(kept), *common), np.int16)
    for place, path in enumerate(kept):
        hu[place] = window.to_hu(slices.pop(path))
    return upright_volume(
        hu,
        (1.0, 1.0, 1.0),
        (0.0, 0.0, 0.0),
        np.eye(3),
        source,
        slice_files=[str(path) for path in kept],
        windowed=window,
        measured=False,
        errors=errors,
    )


@cache
def _say_order_once() -> None:
    _log.warning(
        "a stack of images is taken upright and in the order of the files' names, from feet to head"
    )


def _read_grey(path: Path) -> np.ndarray:
    """Return (Y, X) uint8; ValueError for colours, or what `read_slice` refuses."""
    image = read_slice(path)
    grey = image[..., 0]
    if (image != grey[..., np.newaxis]).any():
        raise ValueError(
            f"{path}: found colours, expected a grey CT slice (three equal channels): export the "
            "slice without overlays"
        )
    return grey.copy()  # a view would keep all three channels in memory
