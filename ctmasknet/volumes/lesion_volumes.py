"""Lesions of a data set that was made from scans -> label maps of these scans.

Shapes: Z, Y, X are the axes of a scan, upright.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from ..atomic_write import atomic_files
from ..data.coco_entries import read_categories, read_entries, read_json, read_numbers
from ..data.coco_lesions import read_coco_lesions
from ..data.nnunet import nnunet_json
from ..errors import RAISE, ErrorPolicy
from ..limits import SCAN, check_limit
from ..pseudonyms import Names
from ..wording import counted
from .label_files import Layout
from .lesion_slices import SCANS
from .sitk_files import NIFTI_DESCRIPTION

_BESIDE = "ground_truth.json"  # beside a run's detections: the classes that their ids stand for
_ABOUT = "dataset.json"


def write_lesion_volumes(
    data: Path,
    output: Path,
    predictions: Sequence[Path] = (),
    min_score: float = 0.5,
    names: Names | None = None,
    errors: ErrorPolicy = RAISE,
) -> str:
    """Write {scan}.nii.gz for each scan of a data set, in the layout of its mask, and dataset.json.

    Args:
        data: the COCO file that `ctmasknet prepare volumes --masks` wrote, or a part of it.
        output: a new or empty folder.
        predictions: files of detections in COCO's format for its images; () writes the lesions of
            the data set itself.
        min_score: detections below it are left out; where others overlap, the best has the pixel.
        names: puts scans' names in the place of pseudonyms; None leaves these.
        errors: policy for detections that cannot be used.

    Returns:
        What was written, in words.

    Raises:
        FileNotFoundError, ValueError: files that cannot be used, a data set that does not know
            its scans, detections without masks, or a folder with other files.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output}: expected a new or empty folder")
    coco, masks, _ = read_coco_lesions(data)
    layouts = _layouts(data, coco)
    classes = {x["id"]: x["name"] for x in coco["categories"]}
    if predictions:
        lesions = [
            lesion
            for path in predictions
            for lesion in _read_detections(path, coco, classes, min_score, errors)
        ]
    else:
        lesions = [
            {**x, "segmentation": mask, "score": 1.0, "class": classes[x["category_id"]]}
            for x, mask in zip(coco["annotations"], masks, strict=True)
            if not x["iscrowd"]
        ]
    values = _values(coco, [*dict.fromkeys(x["class"] for x in lesions)] if predictions else [])
    by_image, by_scan = defaultdict(list), defaultdict(list)
    for lesion in lesions:
        by_image[lesion["image_id"]].append(lesion)
    for image in coco["images"]:
        by_scan[str(image["scan"])].append(image)
    said = ",".join(f"{value}={name}" for name, value in values.items())
    description = said if len(said.encode()) <= NIFTI_DESCRIPTION else ""
    files = {scan: _file(names.reveal(scan) if names else scan) for scan in by_scan}
    with atomic_files(output, last=_ABOUT) as partial:
        for scan, images in by_scan.items():
            labels = _paint(*layouts[scan], images, by_image, values)
            layouts[scan][0].write(labels, partial / files[scan], description)
        about = nnunet_json([*values], [*values.values()], len(by_scan))
        (partial / _ABOUT).write_text(json.dumps(about, indent=2), encoding="utf-8")
    return f"{output}: {counted(len(by_scan), 'label map')} of {said}"


def _file(scan: str) -> str:
    if set(scan) & set("/\\:\0"):
        raise ValueError(f"scan {scan!r}: expected a name for a file, without / \\ and :")
    return f"{scan}.nii.gz"


def _layouts(data: Path, coco: dict) -> dict[str, tuple[Layout, list[int]]]:
    """Return scan -> its layout, and the box of its slices that images show."""
    found = {}
    try:
        for item in coco[SCANS]:
            layout, box = Layout.from_json(item), [int(x) for x in item["box"]]
            check_limit(item["scan"], math.prod(layout.size), SCAN)
            _, height, width = layout.upright_size
            x0, y0, x1, y1 = box
            if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
                raise ValueError(f"box {box} in slices of {height} x {width} pixels")
            found[str(item["scan"])] = layout, box
        for image in coco["images"]:
            layout, (x0, y0, x1, y1) = found[str(image["scan"])]
            if image["slice_index"] >= layout.upright_size[0]:
                raise ValueError(f"slice {image['slice_index']} of {layout.upright_size[0]}")
            if (image["height"], image["width"]) != (y1 - y0, x1 - x0):
                raise ValueError(f"{image['file_name']} has another size than its scan")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{data}: does not tell where its slices lie in their scans ({error}), expected what "
            "`ctmasknet prepare volumes --masks` writes"
        ) from None
    return found


def _read_detections(
    path: Path, coco: dict, classes: Mapping, min_score: float, errors: ErrorPolicy
) -> list[dict]:
    """Read the detections with masks of a file, each with the name of its "class"."""
    content: Any = read_json(path, "detections")
    beside = path.with_name(_BESIDE)
    if isinstance(content, dict):
        found = read_categories(path, content.get("categories") or [])
        classes, content = {x["id"]: x["name"] for x in found}, content.get("annotations")
    elif beside.is_file():
        truth = read_coco_lesions(beside).coco
        classes = {x["id"]: x["name"] for x in truth["categories"]}
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a list of COCO detections")
    sizes = {x["id"]: (x["height"], x["width"]) for x in coco["images"]}

    def read_score(item: dict) -> dict:
        if not item.get("segmentation"):
            raise ValueError("a box without a mask, expected the detections of a model with masks")
        return {"score": read_numbers([item.get("score")], "score")[0]}

    read = read_entries(path, "detection", content, sizes, classes, read_score, errors=errors)
    named = ({**x, "class": classes[x["category_id"]]} for x in read.values())
    return [x for x in named if x["score"] >= min_score]


def _values(coco: dict, found: Sequence[str]) -> dict[str, int]:
    """Return class -> value: as in the masks the data set is made from, or else 1 to K."""
    names = [x["name"] for x in coco["categories"]]
    info = coco.get("info")
    given = info.get("mask_values") if isinstance(info, dict) else None
    if isinstance(given, dict) and {*names, *found} <= set(given):
        values = {name: given[name] for name in names}
        if all(type(x) is int and 0 < x < 256 for x in values.values()):
            return values
    names = [*found] if not set(found) <= set(names) else names
    return {name: value for value, name in enumerate(names, start=1)}


def _paint(
    layout: Layout,
    box: Sequence[int],
    images: Sequence[dict],
    lesions: Mapping[Any, list[dict]],
    values: Mapping[str, int],
) -> np.ndarray:
    """Paint lesions into (Z, Y, X) uint8."""
    labels = np.zeros(layout.upright_size, np.uint8)
    x0, y0, x1, y1 = box
    for image in images:
        part = labels[image["slice_index"], y0:y1, x0:x1]
        # The best is painted last; of equal scores the first.
        for lesion in sorted(reversed(lesions[image["id"]]), key=lambda x: x["score"]):
            inside = mask_util.decode(lesion["segmentation"]).astype(bool)
            part[inside] = values[lesion["class"]]
    return labels
