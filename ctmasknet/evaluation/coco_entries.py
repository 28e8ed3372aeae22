"""What truth and detections in COCO's format share, each entry checked as it is read."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pycocotools.mask as mask_util

from .metric_names import any_lesion, check_class_names
from .rle import compressed_rle


def read_categories(path: Path, items: list) -> list[dict]:
    """Read ids and names of classes, all of them different; errors as `at_entry`."""
    categories = []
    for index, item in enumerate(items):
        with at_entry(path, "category", index):
            categories.append({"id": item["id"], "name": read_name(item, "name")})
    check_different(path, "category", "id", [x["id"] for x in categories])
    if len(categories) > 1:
        names = [x["name"] for x in categories]
        try:
            check_class_names(names, [any_lesion(names)])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return categories


def read_entry(item: dict, sizes: dict, names: dict, masks: bool = True) -> dict:
    """Read what annotations and detections share: image, class, box, and a mask if there is one.

    Args:
        item: an annotation or detection.
        sizes: image id -> (height, width).
        names: category id -> name.
        masks: False leaves masks out where there is a box.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: what cannot be used; see `at_entry`.
    """
    if item.get("image_id") not in sizes:
        raise ValueError(f"unknown image_id {item.get('image_id')!r}, not in the ground truth")
    if item.get("category_id") not in names:
        valid = ", ".join(f"{key} ({name})" for key, name in names.items())
        raise ValueError(f"unknown category_id {item.get('category_id')!r}, expected {valid}")
    found = {"image_id": item["image_id"], "category_id": item["category_id"]}
    mask, box = item.get("segmentation"), item.get("bbox")
    if mask and (masks or not box):
        mask = compressed_rle(mask, sizes[item["image_id"]])
        box = box or mask_util.toBbox(mask).tolist()
    if not box:
        raise ValueError("neither bbox nor segmentation")
    found["bbox"] = read_numbers(box, "bbox")
    if len(box) != 4:
        raise ValueError(f"bbox of {len(box)} numbers, expected x, y, width, height")
    return {**found, "segmentation": mask} if mask and masks else found


def read_name(item: dict, key: str) -> str:
    """Return a text that is not empty; ValueError for anything else."""
    if not isinstance(item[key], str) or not item[key]:
        raise ValueError(f"{key} is {item[key]!r}, expected a name")
    return item[key]


def check_different(path: Path, kind: str, key: str, values: list) -> None:
    """Raise a ValueError for values that are there twice, or not all integers or all strings."""
    seen = set()
    for index, value in enumerate(values):
        with at_entry(path, kind, index):
            if type(value) not in (int, str) or type(value) is not type(values[0]):
                raise ValueError(f"{key} is {value!r}, expected all integers or all strings")
            if value in seen:
                raise ValueError(f"{key} {value!r} is there twice")
            seen.add(value)


def read_numbers(values: list, name: str, least: float = -sys.float_info.max) -> list[float]:
    """Return finite numbers as floats; ValueError for anything else, or one below `least`."""
    if not all(type(x) in (int, float) and least <= x <= sys.float_info.max for x in values):
        what = "a number from 0 on" if least == 0 else "numbers"
        raise ValueError(f"{name} is {values[0] if len(values) == 1 else values}, expected {what}")
    return [float(x) for x in values]


@contextlib.contextmanager
def at_entry(path: Path, kind: str, index: int) -> Iterator[None]:
    """Make errors inside one line that names the place."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = error if isinstance(error, ValueError) else f"not in COCO's format ({error!r})"
        raise ValueError(f"{path}, {kind} {index}: {reason}") from None


def read_json(path: Path, kind: str) -> Any:
    """Return the content of a file; FileNotFoundError, or ValueError for what is no JSON."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of {kind}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
