"""Lesion masks as image files: a PNG for each slice, a NIfTI file for a volume.

Values are those of `label_map`: 0 is background, k the k-th lesion class.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..atomic_write import atomic_write
from ..volumes.sitk_files import volume_suffix, write_volume
from ..volumes.volume import Volume
from .case import Case
from .label_map import label_map


def write_slice_masks(folder: str | os.PathLike, case: Case, names: Sequence[str]) -> None:
    """Write an 8-bit grey PNG for each slice, <name>.png.

    `data.images.read_mask` reads it; `datasets/prepare_lesion_masks.py` takes it with e.g.
    --values 1=GGO,2=C.

    Args:
        folder: made if needed; files of these names are replaced.
        case: of a model with masks.
        names: a different one for each slice, without suffix.

    Raises:
        ValueError: names are missing or equal, or a slice comes from a model without a mask head.
    """
    if len(names) != len(case.slices) or len(set(names)) != len(names):
        raise ValueError(
            f"{case.source}: found {len(set(names))} different names for {len(case.slices)} "
            "slices, expected one for each"
        )
    if not all(prediction.has_masks for prediction in case.slices):
        raise ValueError(
            f"{case.source}: found slices without masks: their model has no mask head; "
            "use a lesion model"
        )
    for prediction, name in zip(case.slices, names, strict=True):
        with atomic_write(Path(folder, f"{name}.png")) as partial:
            Image.fromarray(label_map(prediction)).save(partial)


def write_nifti_mask(path: str | os.PathLike, volume: Volume, labels: np.ndarray) -> None:
    """Write labels where their volume lies in the patient: viewers lay them over its source.

    Args:
        path: ends with .nii.gz or .nii; an existing file is replaced.
        volume: that the labels belong to.
        labels: (Z, Y, X) uint8.

    Raises:
        ValueError: another suffix, or labels of another shape or type.
    """
    if not volume_suffix(Path(path)).startswith(".nii"):
        raise ValueError(f"{path}: expected a name that ends with .nii.gz or .nii")
    check_labels(labels, volume)
    write_volume(replace(volume, hu=labels, windowed=None), path)


def check_labels(labels: np.ndarray, volume: Volume) -> None:
    """Raise ValueError unless labels are uint8 and have the (Z, Y, X) of their volume."""
    if labels.shape != volume.hu.shape or labels.dtype != np.uint8:
        raise ValueError(
            f"{volume.source}: found labels of shape {labels.shape} in {labels.dtype}, expected "
            f"{volume.hu.shape} in uint8"
        )
