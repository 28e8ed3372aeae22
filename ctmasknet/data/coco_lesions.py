"""COCO files of lesions: one reader and one check for training, evaluation and audit.

What needs no guess is repaired, and said once. Anything else is refused.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pycocotools.mask as mask_util

from ..errors import RAISE, ErrorPolicy
from ..limits import SLICE, limit_problem
from ..wording import counted
from .coco_entries import (
    at_entry,
    check_different,
    check_object,
    entry_error,
    read_categories,
    read_entries,
    read_json,
    read_name,
    read_numbers,
)
from .list_paths import listed_path
from .mask_rule import check_lesion_names
from .rle import MAX_PIXELS
from .scan_lesions import check_scan_keys

logger = logging.getLogger(__name__)
# Conventions of boxes differ by a pixel at each side, polygons from their pixels by another.
_BOX_TOLERANCE = 3.0
SET_CROWD = "set iscrowd 0 where a mask is a lesion"
_said: set[str] = set()


class CocoLesions(NamedTuple):
    """A checked file."""

    coco: dict  # COCO dictionary; annotations have unique ids from 1, area, bbox, iscrowd, a mask
    masks: list[dict]  # compressed RLE of each annotation
    repairs: tuple[str, ...]  # what the file has otherwise, in words


def read_coco_lesions(
    path: str | os.PathLike, errors: ErrorPolicy = RAISE, crowds: bool = True
) -> CocoLesions:
    """Read and check a COCO file of lesions.

    Images have "id", "file_name", "height" and "width"; lesions have "image_id", "category_id" and
    "segmentation" (polygons or RLE). "id", "bbox", "area" and "iscrowd" are made where they lack;
    ids that are not unique from 1 on are numbered anew; a box that is not its mask's is made anew;
    a lesion that is there twice is taken once.

    Args:
        path: UTF-8 JSON, perhaps with a byte-order mark.
        errors: policy for single lesions that cannot be used.
        crowds: False takes crowds as lesions like others, as programs call masks crowds.

    Returns:
        The content, with further keys of images and annotations as they are.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no COCO file, or an entry that cannot be used, with its place and the reason.
    """
    path = Path(path)
    content = _read_lists(path)
    images, categories = content["images"], content["categories"]
    if not images:
        raise _unusable(path, "expected images")
    _check_images(path, images)
    names = {x["id"]: x["name"] for x in read_categories(path, categories)}
    sizes = {x["id"]: (x["height"], x["width"]) for x in images}
    items = [_without_nulls(item) for item in content["annotations"]]
    found = read_entries(path, "annotation", items, sizes, names, _read_lesion, errors=errors)
    _drop_empty(path, found, items, errors)
    copies = _drop_copies(found)
    lesions = [{**items[index], **entry} for index, entry in found.items()]
    masks = [entry["segmentation"] for entry in found.values()]
    boxes = _boxes(masks)
    repairs = [
        *_repair_boxes(lesions, masks, boxes),
        *_repair_areas(lesions, masks),
        *_number(lesions),
    ]
    if copies:
        repairs.append(f"{counted(copies, 'lesion')} that is there twice taken once")
    for index, lesion in zip(found, lesions, strict=True):
        if isinstance(items[index]["segmentation"], list):  # polygons train at any size
            lesion["segmentation"] = [x for x in items[index]["segmentation"] if len(x) >= 6]
    if path.read_bytes()[:3] == b"\xef\xbb\xbf":
        repairs.append("a byte-order mark is left out")
    _say(path, repairs)
    if crowds:
        _check_crowds(path, lesions, errors)
    return CocoLesions({**content, "annotations": lesions}, masks, tuple(repairs))


def located_images(path: str | os.PathLike, coco: dict) -> list[dict]:
    """Return the images of a checked file with "file_name" as paths (`listed_path`).

    ValueError: one that lies outside the file's folder, with its place.
    """
    path, images = Path(path), []
    for index, image in enumerate(coco["images"]):
        with at_entry(path, "image", index):
            images.append({**image, "file_name": listed_path(image["file_name"], path.parent)})
    return images


def read_lesion_classes(path: str | os.PathLike) -> tuple[str, ...]:
    """Return the `category_names` of a COCO file, of which nothing else is checked.

    FileNotFoundError, ValueError: as `read_coco_lesions`.
    """
    path = Path(path)
    categories = read_categories(path, _read_lists(path, ["categories"])["categories"])
    with in_file(path):
        return category_names({"categories": categories})


def category_names(coco: dict) -> tuple[str, ...]:
    """Return the class names of a COCO dictionary in Detectron2's order, that of their ids.

    ValueError: a class without a usable name (`check_lesion_names`), or none at all.
    """
    names = [item["name"] for item in sorted(coco["categories"], key=lambda item: item["id"])]
    check_lesion_names(names)
    return tuple(names)


@contextmanager
def in_file(path: str | os.PathLike) -> Iterator[None]:
    """Name the file in ValueErrors."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read_lists(path: Path, keys: Sequence[str] = ("images", "categories", "annotations")) -> dict:
    try:
        content = read_json(path, "ground truth")
        if not isinstance(content, dict):
            raise ValueError(f"found a {type(content).__name__}, expected an object")
        for key in keys:
            if key not in content:
                raise ValueError(f"no {key!r}")
            if not isinstance(content[key], list):
                raise ValueError(f"{key} is a {type(content[key]).__name__}, expected a list")
    except ValueError as error:
        raise _unusable(path, str(error)) from None
    return content


def _unusable(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"{path}: not a usable COCO instances file ({reason.removeprefix(f'{path}: ')}); make one "
        "with `ctmasknet prepare masks`"
    )


def _check_images(path: Path, images: list) -> None:
    names = []
    for index, image in enumerate(images):
        with at_entry(path, "image", index):
            check_object(image)
            _, height, width = (image[key] for key in ("id", "height", "width"))
            names.append(os.path.normpath(read_name(image, "file_name")))
            for key in ("patient", "scan"):
                if isinstance(image.get(key), list | dict):
                    raise ValueError(f"{key} is {image[key]!r}, expected a name")
            check_scan_keys(image)
            if any(type(x) is not int or x < 1 for x in (height, width)):
                raise ValueError(f"height is {height!r}, width {width!r}, expected pixels")
            if too_many := limit_problem(height * width, SLICE):
                raise ValueError(f"height is {height}, width {width}: {too_many}")
            if height * width > MAX_PIXELS:
                raise ValueError(f"height is {height}, width {width}, more than {MAX_PIXELS} px")
    check_different(path, "image", "id", [image["id"] for image in images])
    check_different(path, "image", "file_name", names)


def _read_lesion(item: dict) -> dict:
    if not item.get("segmentation"):
        raise ValueError("no segmentation, expected polygons or RLE")
    if (crowd := item.get("iscrowd", 0)) not in (0, 1):
        raise ValueError(f"iscrowd is {crowd!r}, expected 0 or 1")
    area = {"area": read_numbers([item["area"]], "area", 0)[0]} if "area" in item else {}
    return {"iscrowd": int(crowd), **area}


def _without_nulls(item: Any) -> Any:
    """Leave out what is not stated: null, and an empty box."""
    if not isinstance(item, dict):
        return item
    return {k: v for k, v in item.items() if v is not None and (k, v) != ("bbox", [])}


def _drop_empty(path: Path, lesions: dict[int, dict], items: list, errors: ErrorPolicy) -> None:
    """Remove lesions whose mask has no pixel, each an error to handle."""
    boxes = _boxes([lesion["segmentation"] for lesion in lesions.values()])
    for index in np.array(list(lesions))[boxes[:, 2] == 0].tolist():
        del lesions[index]
        error = ValueError("a mask without any pixel in its image: remove it")
        errors.handle(entry_error(path, "annotation", index, error, items[index]))


def _drop_copies(lesions: dict[int, dict]) -> int:
    """Remove lesions of the same image, class and mask as one before; return their number."""
    keys = ("image_id", "category_id", "iscrowd")
    first: dict[tuple, int] = {}
    copies = [
        index
        for index, x in lesions.items()
        if first.setdefault((*(x[key] for key in keys), x["segmentation"]["counts"]), index)
        != index
    ]
    for index in copies:
        del lesions[index]
    return len(copies)


def _boxes(masks: list[dict]) -> np.ndarray:
    """Return x, y, width and height of each mask: (N, 4)."""
    return mask_util.toBbox(masks) if masks else np.zeros((0, 4))


def _repair_boxes(lesions: Sequence[dict], masks: list[dict], made: np.ndarray) -> list[str]:
    if not lesions:
        return []
    missing = np.array(["bbox" not in lesion for lesion in lesions])
    stated = np.array([lesion.get("bbox", box) for lesion, box in zip(lesions, made, strict=True)])
    limits = np.array([mask["size"][::-1] for mask in masks])  # width, height
    first, last = stated[:, :2].clip(0, limits), (stated[:, :2] + stated[:, 2:]).clip(0, limits)
    away = np.abs(np.hstack([first - made[:, :2], last - made[:, :2] - made[:, 2:]])).max(axis=1)
    other = away > _BOX_TOLERANCE
    for index in np.flatnonzero(missing | other).tolist():
        lesions[index]["bbox"] = made[index].tolist()
    repairs = []
    if missing.any():
        repairs.append(f"{counted(int(missing.sum()), 'missing bbox')} made from the mask")
    if other.any():
        x, y, width, height = stated[other][0]
        corners = np.abs(made[other][0] - [x, y, width - x, height - y]).max() <= _BOX_TOLERANCE
        hint = ", as if boxes were corners" if corners else ""
        number = f"{counted(int(other.sum()), 'bbox')} other than the mask's"
        repairs.append(f"{number} made from the mask (bbox is x, y, width, height{hint})")
    return repairs


def _repair_areas(lesions: Sequence[dict], masks: list[dict]) -> list[str]:
    missing = 0
    for lesion, mask in zip(lesions, masks, strict=True):
        if "area" not in lesion:
            lesion["area"] = float(mask_util.area(mask))
            missing += 1
    return [f"{counted(missing, 'missing area')} made from the mask"] if missing else []


def _number(lesions: Sequence[dict]) -> list[str]:
    """Give unique ids from 1 on: to pycocotools 0 means "not matched", a second one replaces."""
    ids = Counter(str(lesion.get("id")) for lesion in lesions)
    right = all(type(x.get("id")) is int and x["id"] > 0 for x in lesions)
    if right and len(ids) == len(lesions):
        return []
    found = "0" if "0" in ids else "None" if "None" in ids else ids.most_common(1)[0][0]
    for number, lesion in enumerate(lesions, start=1):
        lesion["id"] = number
    return [f"ids of annotations numbered anew, as they are not whole, unique and from 1 ({found})"]


def _say(path: Path, repairs: Sequence[str]) -> None:
    text = f"{path}: read with repairs: {'; '.join(repairs)}"
    if repairs and text not in _said:
        _said.add(text)
        logger.warning("%s", text)


def _check_crowds(path: Path, lesions: Sequence[dict], errors: ErrorPolicy) -> None:
    crowds = sum(lesion["iscrowd"] for lesion in lesions)
    text = (
        f"{path}: {crowds} of {counted(len(lesions), 'lesion')} marked as crowds (iscrowd 1), "
        f"which are no lesions in training and neither right nor wrong in evaluation: {SET_CROWD}"
    )
    if crowds and crowds == len(lesions) and errors.collects:
        errors.handle(text)
    elif crowds and text not in _said:
        _said.add(text)
        logger.warning("%s", text)
