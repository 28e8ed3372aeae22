"""Instances -> one class number for each pixel, and files of these.

Shapes: Z slices of H x W pixels. Values: 0 is background, k the k-th lesion class.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..atomic_write import atomic_write
from ..csv_cells import write_rows
from ..figures import lesion_colour
from ..inference.predictions import SlicePrediction
from ..volumes.sitk_files import NIFTI_DESCRIPTION, volume_suffix, write_volume
from ..volumes.volume import Volume

_MOST_CLASSES = 255
LABEL_COLUMNS = ("label", "class", "colour")


def label_map(prediction: SlicePrediction) -> np.ndarray:
    """Paint instances into (H, W) uint8; where they overlap, the highest score has the pixel.

    Raises a ValueError if the model has no masks, or more classes than 8-bit labels.
    """
    if not prediction.has_masks:
        raise ValueError(
            f"{prediction.source or 'slice'}: found boxes without masks, expected the prediction "
            "of a model with a mask head: use a lesion model"
        )
    if len(prediction.lesion_classes) > _MOST_CLASSES:
        raise ValueError(
            f"found {len(prediction.lesion_classes)} lesion classes, expected at most "
            f"{_MOST_CLASSES}: label maps have 8 bits"
        )
    labels = np.zeros(prediction.size, np.uint8)
    # The best is painted last; of equal scores the first.
    for instance in sorted(reversed(prediction.instances), key=lambda found: found.score):
        labels[instance.mask] = prediction.lesion_classes.index(instance.lesion_class) + 1
    return labels


def label_volume(slices: Sequence[SlicePrediction]) -> np.ndarray:
    """Paint the instances of a scan's slices into (Z, H, W) uint8; see `label_map`.

    Raises a ValueError for no slices, or slices that differ in size or classes.
    """
    kinds = {(prediction.size, prediction.lesion_classes) for prediction in slices}
    if len(kinds) != 1:
        raise ValueError(
            f"found {len(kinds)} different sizes or classes among {len(slices)} slices, expected "
            "the slices of one scan"
        )
    volume = np.empty((len(slices), *slices[0].size), np.uint8)
    for labels, prediction in zip(volume, slices, strict=True):
        labels[:] = label_map(prediction)
    return volume


def write_slice_masks(
    folder: Path, slices: Sequence[SlicePrediction], names: Sequence[str]
) -> None:
    """Write the label map of each slice as 8-bit grey PNG, <folder>/<name>.png.

    `data.images.read_mask` reads it, `ctmasknet prepare masks` with the names of the
    classes, as in --values "1=nodule,2=effusion".
    """
    for prediction, name in zip(slices, names, strict=True):
        picture = Image.fromarray(label_map(prediction))
        with atomic_write(folder / f"{name}.png") as partial:
            picture.save(partial)


def write_label_names(path: str | os.PathLike, lesion_classes: Sequence[str]) -> None:
    """Write a CSV with LABEL_COLUMNS: the value of each class in label maps, its name and colour.

    Colours are "#rrggbb", as in the pictures.
    """
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        named = enumerate(lesion_classes)
        rows = [(index + 1, name, lesion_colour(index)) for index, name in named]
        write_rows(file, [LABEL_COLUMNS, *rows])


def write_nifti_mask(
    path: str | os.PathLike, volume: Volume, labels: np.ndarray, lesion_classes: Sequence[str] = ()
) -> None:
    """Write (Z, H, W) uint8 labels with the geometry of their volume; viewers lay them over it.

    The header's description tells the classes, as in "1=nodule,2=effusion", if there is room for
    them (79 bytes); `write_label_names` writes them beside it. Raises a ValueError unless `path`
    ends with .nii or .nii.gz and the labels fit the volume.
    """
    if not volume_suffix(Path(path)).startswith(".nii"):
        raise ValueError(f"{path}: expected a name that ends with .nii.gz or .nii")
    check_labels(labels, volume)
    names = ",".join(f"{value}={name}" for value, name in enumerate(lesion_classes, 1))
    fits = len(names.encode()) <= NIFTI_DESCRIPTION
    write_volume(replace(volume, hu=labels, windowed=None), path, names if fits else "")


def check_labels(labels: np.ndarray, volume: Volume) -> None:
    """Raise a ValueError unless labels are uint8 and have the (Z, H, W) of their volume."""
    if labels.shape != volume.hu.shape or labels.dtype != np.uint8:
        raise ValueError(
            f"{volume.source}: found labels of shape {labels.shape} in {labels.dtype}, expected "
            f"{volume.hu.shape} in uint8"
        )
