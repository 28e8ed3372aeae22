"""Slices that are known to be of one scan: their keys in COCO files, and lesions across them.

An image has "scan", "patient", "slice_index" (0 is the lowest slice of the scan) and, if known,
"spacing" ([z, y, x] in mm); a lesion has "lesion_id", the number of the lesion in three dimensions
that it is a part of, from 1 in each scan.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util

SCAN_KEYS = ("scan", "patient", "slice_index", "spacing")
LESION_ID = "lesion_id"
_NEIGHBOURS = np.ones((3, 3), np.uint8)


def check_scan_keys(image: dict) -> None:
    """Raise a ValueError for a slice's index or spacing that is none."""
    index, spacing = image.get("slice_index"), image.get("spacing")
    if index is not None and (type(index) is not int or index < 0):
        raise ValueError(f"slice_index is {index!r}, expected a whole number from 0 on")
    if spacing is not None and not (
        isinstance(spacing, list)
        and len(spacing) == 3
        and all(type(x) in (int, float) and 0 < x < float("inf") for x in spacing)
    ):
        raise ValueError(f"spacing is {spacing!r}, expected [z, y, x] in mm")


def lesion_ids(images: Sequence[dict], lesions: Sequence[dict]) -> list[int | None]:
    """Number lesions in three dimensions: the 26-connected components of each class of a scan.

    Args:
        images: of a COCO dictionary.
        lesions: its annotations, with masks in RLE; those of one slice and class are components
            of the slice, 8-connected.

    Returns:
        For each annotation its number, from 1 in each scan in the order of slices and annotations;
        None of a crowd, and where an image has no "scan" and "slice_index".
    """
    places = {
        x["id"]: (x["scan"], x["slice_index"]) for x in images if "scan" in x and "slice_index" in x
    }
    found: dict[tuple[Any, int, Any], list[int]] = defaultdict(list)  # scan, slice, class
    for index, lesion in enumerate(lesions):
        if lesion["image_id"] in places and not lesion.get("iscrowd"):
            found[(*places[lesion["image_id"]], lesion["category_id"])].append(index)
    parent = list(range(len(lesions)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for (scan, z, category), lower in found.items():
        for one, other in product(lower, found.get((scan, z + 1, category), ())):
            if root(one) != root(other) and _touch(lesions[one], lesions[other]):
                parent[root(other)] = root(one)
    numbers: dict[Any, dict[int, int]] = defaultdict(dict)
    made: list[int | None] = [None] * len(lesions)
    order = sorted((z, index, scan) for (scan, z, _), own in found.items() for index in own)
    for _, index, scan in order:
        made[index] = numbers[scan].setdefault(root(index), len(numbers[scan]) + 1)
    return made


def _touch(one: dict, other: dict) -> bool:
    """Return whether masks of neighbouring slices share a corner of a voxel, at least."""
    boxes = np.array([one["bbox"], other["bbox"]], int)
    x0, y0 = (boxes[:, :2].max(axis=0) - 1).clip(0)
    x1, y1 = (boxes[:, :2] + boxes[:, 2:]).min(axis=0) + 1
    if x0 >= x1 or y0 >= y1:
        return False
    first, second = (mask_util.decode(x["segmentation"])[y0:y1, x0:x1] for x in (one, other))
    return bool((cv2.dilate(np.ascontiguousarray(first), _NEIGHBOURS) & second).any())
