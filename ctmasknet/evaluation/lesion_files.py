"""Lesions and detections of any system, from COCO files."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from pycocotools.coco import COCO

from ..data.registration import unusable_lesions
from .image_metrics import metric_suffix
from .lesion_set import LesionImage, LesionSet
from .prediction_table import portable_names


def read_lesions(
    truth_path: str | os.PathLike, detection_paths: Sequence[str | os.PathLike]
) -> LesionSet:
    """Read the truth and the detections of any system.

    Args:
        truth_path: COCO instances with polygons or RLE; images may have "patient" and "scan".
        detection_paths: COCO result lists of {image_id, category_id, score, bbox [x, y, w, h],
            segmentation (RLE)}, e.g. one for each fold of a cross-validation. Either bbox or
            segmentation may be missing; without any segmentation boxes alone can be judged.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: what is wrong in which file, and at which index.
    """
    truth = _read_truth(Path(truth_path))
    paths = tuple(Path(path) for path in detection_paths)
    detections = _read_detections(paths, truth)
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
        masks=not detections or "segmentation" in detections[0],
    )


def _read_truth(path: Path) -> COCO:
    content = _read_json(path, "ground truth")
    try:
        images = [
            {
                **{key: image[key] for key in ("id", "file_name", "height", "width")},
                **{key: str(image[key]) for key in ("patient", "scan") if image.get(key)},
            }
            for image in content["images"]
        ]
        categories = [{"id": x["id"], "name": x["name"]} for x in content["categories"]]
        sizes = {image["id"]: [image["height"], image["width"]] for image in images}
        annotations = content["annotations"]
        if not categories or not images or len(sizes) < len(images):
            raise ValueError("expected classes, and images with different ids")
    except (KeyError, TypeError, ValueError) as error:
        raise unusable_lesions(path, error) from None
    _check_classes(path, [x["name"] for x in categories])
    # By name, not by id: the same images in two files, whatever their ids, are drawn alike.
    order = portable_names([image["file_name"] for image in images])
    images = [image for _, image in sorted(zip(order, images, strict=True), key=lambda x: x[0])]
    truth = COCO()
    truth.dataset = {"images": images, "categories": categories, "annotations": []}
    for index, item in enumerate(annotations):
        try:
            lesion = _common(item, sizes, categories)
            if "segmentation" not in lesion:
                raise ValueError("no segmentation, expected polygons or RLE")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _at(path, "annotation", index, error) from None
        area = item.get("area", mask_util.area(lesion["segmentation"]))
        # Ids from 1: to pycocotools 0 means "not matched".
        number = {"id": index + 1, "area": float(area), "iscrowd": int(item.get("iscrowd") or 0)}
        truth.dataset["annotations"].append({**number, **lesion})
    with contextlib.redirect_stdout(io.StringIO()):  # COCO prints while it reads
        truth.createIndex()
    return truth


def _check_classes(path: Path, names: list[str]) -> None:
    """Metrics go by class, and by "lesion" for any of them."""
    suffixes = [metric_suffix(name) for name in names] + ["lesion"] * (len(names) > 1)
    if len(set(suffixes)) < len(suffixes):
        raise ValueError(
            f"{path}: found the classes {', '.join(names)}, expected names that differ in letters "
            'and digits, and "lesion" only as the single one'
        )


def _read_detections(paths: Sequence[Path], truth: COCO) -> list[dict]:
    sizes = {x["id"]: [x["height"], x["width"]] for x in truth.dataset["images"]}
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
            try:
                found = _common(item, sizes, truth.dataset["categories"])
                found["score"] = _finite([item.get("score")], "score")[0]
                if detections and ("segmentation" in found) != ("segmentation" in detections[0]):
                    raise ValueError("detections with and without segmentation, expected one kind")
                if (other := source.setdefault(found["image_id"], path)) != path:
                    raise ValueError(f"{other} has detections of image {found['image_id']} too")
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise _at(path, "detection", index, error) from None
            detections.append(found)
    return detections


def _common(item: dict, sizes: dict, categories: list[dict]) -> dict:
    """What annotations and detections share: image, class, box, and the mask where it is there."""
    if item.get("image_id") not in sizes:
        raise ValueError(f"unknown image_id {item.get('image_id')!r}, not in the ground truth")
    names = {x["id"]: x["name"] for x in categories}
    if item.get("category_id") not in names:
        valid = ", ".join(f"{key} ({name})" for key, name in names.items())
        raise ValueError(f"unknown category_id {item.get('category_id')!r}, expected {valid}")
    found = {"image_id": item["image_id"], "category_id": item["category_id"]}
    if item.get("segmentation"):
        found["segmentation"] = _compressed(item["segmentation"], sizes[item["image_id"]])
    elif not item.get("bbox"):
        raise ValueError("neither bbox nor segmentation")
    box = item.get("bbox") or mask_util.toBbox(found["segmentation"]).tolist()
    found["bbox"] = _finite(box, "bbox")
    if len(box) != 4:
        raise ValueError(f"bbox of {len(box)} numbers, expected x, y, width, height")
    return found


def _compressed(mask: Any, size: list[int]) -> dict:
    """A mask in any of COCO's forms as compressed RLE that JSON can hold."""
    if isinstance(mask, list):
        # As Detectron2 loads them: what is no polygon is left out.
        polygons = [points for points in mask if len(points) >= 6 and len(points) % 2 == 0]
        if not polygons:
            raise ValueError("no valid polygon")
        rle = mask_util.merge(mask_util.frPyObjects(polygons, *size))
    elif list(mask["size"]) != size:
        raise ValueError(
            f"a mask of {mask['size'][1]} x {mask['size'][0]} pixels, expected {size[1]} x "
            f"{size[0]} as its image"
        )
    elif isinstance(mask["counts"], list):
        if sum(mask["counts"]) != size[0] * size[1]:
            raise ValueError("RLE counts that do not add up to the pixels of the image")
        rle = mask_util.frPyObjects(mask, *size)
    else:
        rle = mask
    counts = rle["counts"]
    return {"size": size, "counts": counts.decode() if isinstance(counts, bytes) else counts}


def _finite(values: list, name: str) -> list[float]:
    if not all(isinstance(x, int | float) and np.isfinite(x) for x in values):
        raise ValueError(f"{name} is {values[0] if len(values) == 1 else values}, expected numbers")
    return [float(x) for x in values]


def _at(path: Path, kind: str, index: int, error: Exception) -> ValueError:
    reason = error if isinstance(error, ValueError) else f"not in COCO's format ({error!r})"
    return ValueError(f"{path}, {kind} {index}: {reason}")


def _read_json(path: Path, kind: str) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of {kind}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
