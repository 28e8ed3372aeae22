"""Lesions and detections of any system, from COCO files."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from pycocotools.coco import COCO

from ..data.registration import unusable_lesions
from .lesion_set import LesionImage, LesionSet
from .metric_names import any_lesion, check_class_names
from .prediction_table import portable_names
from .rle import MAX_PIXELS, compressed_rle


def read_lesions(
    truth_path: str | os.PathLike,
    detection_paths: Sequence[str | os.PathLike],
    masks: bool | None = None,
) -> LesionSet:
    """Read the truth and the detections of a system.

    Args:
        truth_path: COCO instances with polygons or RLE; images may have "patient" and "scan".
        detection_paths: COCO result lists of {image_id, category_id, score, bbox [x, y, w, h],
            segmentation (RLE)}, e.g. one for each fold of a cross-validation. Either bbox or
            segmentation may be missing; without any segmentation boxes alone can be judged.
        masks: True: every detection must have a segmentation. False: segmentations are not looked
            at, where there are boxes. None: as the first detection has it, and True without any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an entry of a file cannot be used; names file and index.
    """
    truth = _read_truth(Path(truth_path))
    paths = tuple(Path(path) for path in detection_paths)
    detections = _read_detections(paths, truth, masks)
    if masks is None:
        masks = not detections or "segmentation" in detections[0]
    categories = sorted(truth.dataset["categories"], key=lambda x: x["id"])
    label = {x["id"]: k for k, x in enumerate(categories)}
    found = defaultdict(list)
    for detection in sorted(detections, key=lambda x: -x["score"]):
        found[detection["image_id"]].append(detection)

    def image_of(image: dict) -> LesionImage:
        lesions = [x for x in truth.imgToAnns[image["id"]] if not x["iscrowd"]]
        mine = found[image["id"]]
        return LesionImage(
            image["id"],
            image["file_name"],
            image.get("patient", ""),
            image.get("scan", ""),
            image["height"],
            image["width"],
            [x["segmentation"] for x in lesions],
            np.array([label[x["category_id"]] for x in lesions], dtype=np.int64),
            np.array([x["area"] for x in lesions], dtype=np.float64),
            [x["segmentation"] for x in mine if "segmentation" in x],
            np.array([label[x["category_id"]] for x in mine], dtype=np.int64),
            np.array([x["score"] for x in mine], dtype=np.float64),
        )

    return LesionSet(
        tuple(x["name"] for x in categories),
        tuple(image_of(image) for image in truth.dataset["images"]),
        truth,
        detections,
        paths,
        masks,
    )


def _read_truth(path: Path) -> COCO:
    content = _read_json(path, "ground truth")
    try:
        for key in ("images", "categories", "annotations"):
            if not isinstance(content[key], list):
                raise TypeError(f"{key} is a {type(content[key]).__name__}, expected a list")
        if not content["images"] or not content["categories"]:
            raise ValueError("expected images and classes")
    except (KeyError, TypeError, ValueError) as error:
        raise unusable_lesions(path, error) from None
    images = _read_images(path, content["images"])
    categories = _read_categories(path, content["categories"])
    sizes = {x["id"]: (x["height"], x["width"]) for x in images}
    names = {x["id"]: x["name"] for x in categories}
    truth = COCO()
    truth.dataset = {"images": images, "categories": categories, "annotations": []}
    for index, item in enumerate(content["annotations"]):
        with _at(path, "annotation", index):
            lesion = _common(item, sizes, names)
            if "segmentation" not in lesion:
                raise ValueError("no segmentation, expected polygons or RLE")
            area = item.get("area", float(mask_util.area(lesion["segmentation"])))
            if (crowd := item.get("iscrowd", 0)) not in (0, 1):
                raise ValueError(f"iscrowd is {crowd!r}, expected 0 or 1")
            # Ids from 1: to pycocotools 0 means "not matched".
            number = {"id": index + 1, "area": _numbers([area], "area", 0)[0]}
            truth.dataset["annotations"].append({**number, "iscrowd": int(crowd), **lesion})
    with contextlib.redirect_stdout(io.StringIO()):  # COCO prints while it reads
        truth.createIndex()
    return truth


def _read_images(path: Path, items: list) -> list[dict]:
    images = []
    for index, item in enumerate(items):
        with _at(path, "image", index):
            image = {key: item[key] for key in ("id", "file_name", "height", "width")}
            _name(image, "file_name")
            height, width = size = image["height"], image["width"]
            if any(type(x) is not int or x < 1 for x in size) or height * width > MAX_PIXELS:
                raise ValueError(f"height is {height!r}, width {width!r}, expected pixels")
            known = {key: item.get(key) for key in ("patient", "scan")}
            image |= {key: str(x) for key, x in known.items() if x not in (None, "")}
            images.append(image)
    _check_different(path, "image", "id", [x["id"] for x in images])
    # By name, not by id: the same images in two files, whatever their ids, are drawn alike.
    names = portable_names([image["file_name"] for image in images])
    _check_different(path, "image", "file_name", names)
    return [image for _, image in sorted(zip(names, images, strict=True), key=lambda x: x[0])]


def _read_categories(path: Path, items: list) -> list[dict]:
    categories = []
    for index, item in enumerate(items):
        with _at(path, "category", index):
            categories.append({"id": item["id"], "name": _name(item, "name")})
    _check_different(path, "category", "id", [x["id"] for x in categories])
    if len(categories) > 1:
        names = [x["name"] for x in categories]
        try:
            check_class_names(names, [any_lesion(names)])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return categories


def _read_detections(paths: Sequence[Path], truth: COCO, masks: bool | None) -> list[dict]:
    sizes = {x["id"]: (x["height"], x["width"]) for x in truth.dataset["images"]}
    names = {x["id"]: x["name"] for x in truth.dataset["categories"]}
    source: dict[Any, Path] = {}
    detections: list[dict] = []
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError(f"{', '.join(map(str, paths))}: a file of detections is there twice")
    for path in paths:
        items = _read_json(path, "detections")
        if not isinstance(items, list):
            raise ValueError(
                f"{path}: found a {type(items).__name__}, expected a list of COCO detections"
            )
        for index, item in enumerate(items):
            with _at(path, "detection", index):
                found = _common(item, sizes, names, masks is not False)
                found["score"] = _numbers([item.get("score")], "score")[0]
                if masks and "segmentation" not in found:
                    raise ValueError("no segmentation, expected one in every detection")
                if detections and ("segmentation" in found) != ("segmentation" in detections[0]):
                    raise ValueError("detections with and without segmentation, expected one kind")
                if (other := source.setdefault(found["image_id"], path)) != path:
                    raise ValueError(f"{other} has detections of image {found['image_id']} too")
                detections.append(found)
    return detections


def _common(item: dict, sizes: dict, names: dict, masks: bool = True) -> dict:
    """Read what annotations and detections share: image, class, box, and a mask if there is one."""
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
    found["bbox"] = _numbers(box, "bbox")
    if len(box) != 4:
        raise ValueError(f"bbox of {len(box)} numbers, expected x, y, width, height")
    return {**found, "segmentation": mask} if mask and masks else found


def _name(item: dict, key: str) -> str:
    if not isinstance(item[key], str) or not item[key]:
        raise ValueError(f"{key} is {item[key]!r}, expected a name")
    return item[key]


def _check_different(path: Path, kind: str, key: str, values: list) -> None:
    seen = set()
    for index, value in enumerate(values):
        with _at(path, kind, index):
            if type(value) not in (int, str) or type(value) is not type(values[0]):
                raise ValueError(f"{key} is {value!r}, expected all integers or all strings")
            if value in seen:
                raise ValueError(f"{key} {value!r} is there twice")
            seen.add(value)


def _numbers(values: list, name: str, least: float = -sys.float_info.max) -> list[float]:
    if not all(type(x) in (int, float) and least <= x <= sys.float_info.max for x in values):
        what = "a number from 0 on" if least == 0 else "numbers"
        raise ValueError(f"{name} is {values[0] if len(values) == 1 else values}, expected {what}")
    return [float(x) for x in values]


@contextlib.contextmanager
def _at(path: Path, kind: str, index: int) -> Iterator[None]:
    """Errors inside become one line that names the place."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = error if isinstance(error, ValueError) else f"not in COCO's format ({error!r})"
        raise ValueError(f"{path}, {kind} {index}: {reason}") from None


def _read_json(path: Path, kind: str) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of {kind}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
