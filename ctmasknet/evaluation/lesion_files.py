"""Lesions and detections of any system, from COCO files."""

import contextlib
import io
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from pycocotools.coco import COCO

from ..data.coco_entries import (
    at_entry,
    check_different,
    check_object,
    read_categories,
    read_entries,
    read_json,
    read_numbers,
)
from ..data.coco_lesions import in_file, read_coco_lesions
from .detected_boxes import check_boxes, check_classes
from .lesion_set import LesionImage, LesionSet
from .metric_names import any_lesion, check_class_names
from .prediction_table import names_without_folders, portable_names
from .results import DETECTIONS, GROUND_TRUTH

_LESION_KEYS = ("image_id", "category_id", "bbox", "area", "iscrowd")


def read_lesions(
    truth_path: str | os.PathLike,
    detection_paths: Sequence[str | os.PathLike],
    masks: bool | None = None,
    names_beside: bool = False,
) -> LesionSet:
    """Read the truth and the detections of a system.

    The truth is as `read_coco_lesions` reads it; images may have "patient", "scan" and
    "slice_index" (whole numbers from the feet to the head, neighbours differ by 1), annotations
    "lesion_id": the same for all outlines of a lesion in a scan.
    Detections are lists of {image_id, category_id, score (0 to 1), bbox [x, y, w, h],
    segmentation (RLE)}, e.g. one for each fold of a cross-validation, and their category ids are
    the truth's. Or they are such lists as "annotations" of a dictionary with its own "categories":
    these are matched to the truth's by name. Either bbox or segmentation may be missing; without
    any segmentation only boxes can be judged.

    Args:
        truth_path: the truth.
        detection_paths: files of detections.
        masks: True requires a segmentation in every detection, False ignores it where there is a
            box, None does as the first detection has it (True without any).
        names_beside: take the classes of a run's list of detections from the ground_truth.json
            that its report has put beside it.

    Raises:
        FileNotFoundError, ValueError: what cannot be read or matched, with its file and entry.
    """
    truth = _read_truth(Path(truth_path))
    paths = tuple(Path(path) for path in detection_paths)
    detections = _read_detections(paths, truth, Path(truth_path), masks, names_beside)
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
            image.get("slice_index"),
            image["height"],
            image["width"],
            [x["segmentation"] for x in lesions],
            np.array([label[x["category_id"]] for x in lesions], dtype=np.int64),
            [str(x.get("lesion_id", "")) for x in lesions],
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
    """Read the lesions as COCO's metrics take them: images by name, masks as compressed RLE."""
    content, masks, _ = read_coco_lesions(path)
    truth = COCO()
    truth.dataset = {
        "images": _read_images(path, content["images"]),
        "categories": _with_metrics(path, read_categories(path, content["categories"])),
        "annotations": [
            # Ids by their order, whatever they are in the file.
            {"id": number, "segmentation": mask, **{k: lesion[k] for k in _LESION_KEYS}}
            | ({"lesion_id": lesion["lesion_id"]} if lesion.get("lesion_id") is not None else {})
            for number, (lesion, mask) in enumerate(
                zip(content["annotations"], masks, strict=True), start=1
            )
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):  # COCO prints while it reads
        truth.createIndex()
    return truth


def _with_metrics(path: Path, categories: list[dict]) -> list[dict]:
    """Return categories; a ValueError for several whose metrics would have the same name."""
    names = [x["name"] for x in categories]
    if not names:
        raise ValueError(f"{path}: found no class, expected the names of one or more")
    if len(names) > 1:
        with in_file(path):
            check_class_names(names, [any_lesion(names)])
    return categories


def _read_images(path: Path, items: list[dict]) -> list[dict]:
    """Keep what metrics need of images."""
    images = []
    for index, item in enumerate(items):
        known: dict[str, Any] = {
            key: str(item[key]) for key in ("patient", "scan") if item.get(key) not in (None, "")
        }
        if (place := item.get("slice_index")) is not None:
            known["slice_index"] = place
            with at_entry(path, "image", index):
                if type(place) is not int:
                    raise ValueError(f"slice_index is {place!r}, expected a whole number")
        images.append({key: item[key] for key in ("id", "file_name", "height", "width")} | known)
    # By name, not by id: the same images in two files, whatever their ids, are drawn alike.
    files = [image["file_name"] for image in images]
    for image, name in zip(images, names_without_folders(files), strict=True):
        image["file_name"] = name
    names = portable_names(files)
    check_different(path, "image", "file_name", names)
    return [image for _, image in sorted(zip(names, images, strict=True), key=lambda x: x[0])]


def _read_detections(
    paths: Sequence[Path], truth: COCO, truth_path: Path, masks: bool | None, names_beside: bool
) -> list[dict]:
    sizes = {x["id"]: (x["height"], x["width"]) for x in truth.dataset["images"]}
    source: dict[Any, Path] = {}
    detections: list[dict] = []
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError(f"{', '.join(map(str, paths))}: a file of detections is there twice")
    for path in paths:
        items, categories = _open_detections(path, truth, names_beside)
        numbers = _matched(path, categories, truth_path, truth.dataset["categories"])
        names = {x["id"]: x["name"] for x in categories}
        read = read_entries(path, "detection", items, sizes, names, _read_score, masks is not False)
        mine = list(read.values())
        check_boxes(path, mine, truth)
        for found in mine:
            if "bbox" not in found:
                found["bbox"] = mask_util.toBbox(found["segmentation"]).tolist()
            if masks is False:
                found.pop("segmentation", None)
        for index, found in read.items():
            with at_entry(path, "detection", index):
                found["category_id"] = numbers[found["category_id"]]
                if masks and "segmentation" not in found:
                    raise ValueError("no segmentation, expected one in every detection")
                first = (detections or mine)[0]
                if ("segmentation" in found) != ("segmentation" in first):
                    raise ValueError("detections with and without segmentation, expected one kind")
                if (other := source.setdefault(found["image_id"], path)) != path:
                    raise ValueError(f"{other} has detections of image {found['image_id']} too")
        if names_beside and categories is truth.dataset["categories"]:
            check_classes(path, mine, truth)
        detections += mine
    return detections


def _read_score(item: dict) -> dict:
    (score,) = read_numbers([item.get("score")], "score")
    if not 0 <= score <= 1:
        raise ValueError(f"score is {item['score']}, expected 0 to 1 (divide percentages by 100)")
    return {"score": score}


def _open_detections(path: Path, truth: COCO, names_beside: bool) -> tuple[list, list[dict]]:
    """Return the detections of a file and the classes that its category ids stand for."""
    content = read_json(path, "detections")
    if isinstance(content, list):
        beside = path.with_name(GROUND_TRUTH)
        if names_beside and path.name == DETECTIONS and beside.is_file():
            return content, _read_truth(beside).dataset["categories"]
        return content, truth.dataset["categories"]
    found = content if isinstance(content, dict) else {}
    lists = [found.get("annotations"), found.get("categories"), found.get("images", [])]
    if not all(isinstance(x, list) for x in lists):
        raise ValueError(
            f"{path}: found a {type(content).__name__}, expected a list of COCO detections, or a "
            'dictionary with these as "annotations", and with "categories"'
        )
    items, categories, images = lists
    _check_images(path, images, truth)
    return items, _with_metrics(path, read_categories(path, categories))


def _check_images(path: Path, images: Sequence[dict], truth: COCO) -> None:
    """Raise a ValueError for an image that has another name than the truth's of its id."""
    for index, image in enumerate(images):
        with at_entry(path, "image", index):
            check_object(image)
            known = truth.imgs.get(image["id"], image)["file_name"]
            if Path(image["file_name"]).name != Path(known).name:
                raise ValueError(
                    f"id {image['id']!r} is {image['file_name']}, in the ground truth {known}: "
                    "number images as there"
                )


def _matched(
    path: Path, categories: Sequence[dict], truth_path: Path, true_categories: Sequence[dict]
) -> dict:
    """Return a file's category id -> the truth's of the same name."""
    true_ids = {x["name"]: x["id"] for x in true_categories}
    names = [x["name"] for x in categories]
    if not set(names) <= set(true_ids):
        raise ValueError(
            f"{path}: found detections of the classes {', '.join(names)}, but {truth_path} has "
            f"{', '.join(true_ids)}: give the same classes the same names"
        )
    return {x["id"]: true_ids[x["name"]] for x in categories}
