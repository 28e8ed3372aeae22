"""Instances -> one class, or one lesion, for each pixel, and files of these.

Shapes: Z slices of H x W pixels. Values: 0 is background, k the k-th class or the lesion with the
id k.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
from PIL import Image

from ..atomic_write import atomic_write
from ..csv_cells import write_rows
from ..figures import lesion_colour
from ..inference.predictions import SlicePrediction
from ..volumes.sitk_files import NIFTI_DESCRIPTION, volume_suffix, write_volume
from ..volumes.volume import Volume

_MOST_CLASSES = 255
LABEL_COLUMNS = ("label", "class", "colour")


def outline_map(prediction: SlicePrediction) -> np.ndarray:
    """Return which outline has each pixel: (H, W) uint16, 0 or 1 + the index of the instance.

    Where outlines overlap, the highest score has the pixel, of equal scores the first instance.
    Raises a ValueError if the model has no masks.
    """
    if not prediction.has_masks:
        raise ValueError(
            f"{prediction.source or 'slice'}: found boxes without masks, expected the prediction "
            "of a model with a mask head: use a lesion model"
        )
    found = prediction.instances
    outlines = np.zeros(prediction.size, np.uint16)
    # The best is painted last; only the part of the slice around an outline is touched.
    for index in sorted(range(len(found)), key=lambda i: (found[i].score, -i)):
        rle = found[index].rle
        x, y, width, height = map(int, mask_util.toBbox(rle))
        box = np.s_[y : y + height, x : x + width]
        outlines[box][mask_util.decode(rle)[box].view(bool)] = index + 1
    return outlines


def label_map(prediction: SlicePrediction) -> np.ndarray:
    """Paint instances into (H, W) uint8; see `outline_map`.

    Raises a ValueError if the model has no masks, or more classes than 8-bit labels.
    """
    if len(prediction.lesion_classes) > _MOST_CLASSES:
        raise ValueError(
            f"found {len(prediction.lesion_classes)} lesion classes, expected at most "
            f"{_MOST_CLASSES}: label maps have 8 bits"
        )
    named = [prediction.lesion_classes.index(x.lesion_class) + 1 for x in prediction.instances]
    return np.array([0, *named], np.uint8).take(outline_map(prediction))


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


def lesion_volume(
    slices: Sequence[SlicePrediction], lesion_ids: Sequence[Sequence[int]]
) -> np.ndarray:
    """Paint the lesion of each instance into (Z, H, W) uint16, 0 where there is none.

    `lesion_ids` are those of `Quantities`. It covers what `label_volume` does.
    """
    volume = np.zeros((len(slices), *slices[0].size), np.uint16)
    for lesions, prediction, ids in zip(volume, slices, lesion_ids, strict=True):
        if ids:
            lesions[:] = np.array([0, *ids], np.uint16).take(outline_map(prediction))
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
    """Write (Z, H, W) uint8 or uint16 labels with the geometry of their volume.

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
    """Raise a ValueError unless labels are uint8 or uint16, (Z, H, W) as their volume."""
    if labels.shape != volume.hu.shape or labels.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{volume.source}: found labels of shape {labels.shape} in {labels.dtype}, expected "
            f"{volume.hu.shape} in uint8 or uint16"
        )
