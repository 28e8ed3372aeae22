"""Lists, COCO files and folders of any kind -> one record per slice of every split."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pycocotools.mask as mask_util
from detectron2.data import MetadataCatalog
from tqdm import tqdm

from ..data.classes import IMAGE_CLASSES, MaskValues
from ..data.covidx import read_covidx_list
from ..data.image_lists import find_classes, load_image_list
from ..data.images import check_slice, read_mask
from ..data.lesion_masks import lesion_instances
from ..data.mask_pairs import Pair, pair_files, with_flattened_patients
from ..data.registration import read_dataset, register_lesion_dataset
from ..errors import ErrorPolicy, collecting
from .findings import Finding


class Lesion(NamedTuple):
    """One instance: index of its class among the split's classes, area in pixels."""

    label: int
    area: int


@dataclass(slots=True)
class Slice:
    """One slice of one split; what its list does not say is None (source: "")."""

    split: str
    path: str  # of the image; the bare name where no images are at hand
    name: str
    label: int | None = None
    patient: str | None = None
    scan: str | None = None
    source: str = ""
    body_box: list[int] | None = None  # x0, y0, x1, y1, half-open
    size: tuple[int, int] | None = None  # height, width
    lesions: list[Lesion] | None = None  # None: unknown


@dataclass(slots=True)
class Split:
    """A data set as it is audited.

    Args:
        name: unique among the splits.
        origin: the name or path that was given.
        classes: of images or, in a lesion data set, of lesions; index = label.
        slices: everything usable in it.
        findings: what could not be used.
        has_images: image files are at hand.
        of_lesions: a lesion data set, its classes are those of lesions.
    """

    name: str
    origin: str
    classes: tuple[str, ...]
    slices: list[Slice]
    findings: list[Finding] = field(default_factory=list)
    has_images: bool = True
    of_lesions: bool = False


def splits_of_datasets(names: Sequence[str]) -> list[Split]:
    """Read registered data sets or files, each as one split.

    Args:
        names: registered names, or paths of .csv (image list) or .json (COCO) files.

    Raises:
        FileNotFoundError, ValueError: a data set that cannot be used as a whole.
    """
    classes = _classes_of([name for name in names if name.lower().endswith(".csv")])
    return [
        _split_of_list(name, origin, classes)
        if origin.lower().endswith(".csv")
        else _split_of_dataset(name, origin)
        for name, origin in zip(_unique_names(names), names, strict=True)
    ]


def _unique_names(origins: Sequence[str]) -> list[str]:
    """The stems of files, with their folder where two are the same."""
    stems = [Path(origin).stem if _is_file(origin) else origin for origin in origins]
    return [
        f"{Path(origin).resolve().parent.name}/{stem}"
        if _is_file(origin) and stems.count(stem) > 1
        else stem
        for origin, stem in zip(origins, stems, strict=True)
    ]


def _is_file(origin: str) -> bool:
    return origin.lower().endswith((".csv", ".json"))


def _classes_of(lists: Sequence[str]) -> tuple[str, ...]:
    try:
        return find_classes(lists)
    except ValueError:
        return IMAGE_CLASSES  # labels beyond are then reported line by line


def _split_of_list(name: str, path: str, classes: tuple[str, ...]) -> Split:
    errors = collecting()
    slices = [_image_slice(name, record) for record in load_image_list(path, classes, errors)]
    return Split(name, path, classes, slices, _unusable(name, errors))


def _split_of_dataset(name: str, origin: str) -> Split:
    """A registered data set, or a COCO file."""
    if _is_file(origin):
        if not Path(origin).is_file():
            raise FileNotFoundError(f"{origin}: no such dataset file")
        register_lesion_dataset(name, origin)
    errors = collecting()
    dicts = read_dataset(name, errors)
    metadata = MetadataCatalog.get(name)
    findings = _unusable(name, errors)
    if metadata.evaluator_type != "coco":
        slices = [_image_slice(name, record) for record in dicts]
        return Split(name, origin, tuple(metadata.image_classes), slices, findings)
    findings += _unusable_annotations(name, metadata.json_file)
    slices = [_lesion_slice(name, record) for record in dicts]
    classes = tuple(metadata.thing_classes)
    return Split(name, origin, classes, slices, findings, of_lesions=True)


def _unusable_annotations(split: str, json_file: str) -> list[Finding]:
    """Masks of a COCO file that have no image, or the size of another one."""
    with open(json_file, encoding="utf-8") as stream:
        coco = json.load(stream)
    images = {image["id"]: image for image in coco["images"]}
    findings = []
    for item in coco.get("annotations", ()):
        where = f"{json_file}: annotation {item.get('id')}"
        image = images.get(item["image_id"])
        if image is None:
            text = f"{where}: no image {item['image_id']}; remove it or add the image"
            findings.append(Finding("unpaired_file", (split,), text))
            continue
        mask, size = item.get("segmentation"), [image["height"], image["width"]]
        if isinstance(mask, dict) and list(mask["size"]) != size:
            text = f"{where}: a mask of {mask['size'][1]} x {mask['size'][0]} pixels, expected "
            text += f"{size[1]} x {size[0]} as its image {image['file_name']}"
            findings.append(Finding("unusable_mask", (split,), text))
    return findings


def splits_of_covidx(
    lists: Sequence[tuple[str, Path]], images: Path | None, metadata: Path | None
) -> list[Split]:
    """Read split lists of COVIDx-CT.

    Args:
        lists: (split name, list) pairs.
        images: folder of the images, if at hand.
        metadata: metadata.csv, for the sources.

    Raises:
        FileNotFoundError, ValueError: a file that cannot be used as a whole.
    """
    splits = []
    for name, path in lists:
        errors = collecting()
        records = read_covidx_list(path, images, metadata, errors)
        slices = [_image_slice(name, record) for record in records]
        findings = _unusable(name, errors)
        has_images = images is not None
        splits.append(Split(name, str(path), IMAGE_CLASSES, slices, findings, has_images))
    return splits


def splits_of_folders(folders: Sequence[tuple[str, Path, Path]], values: MaskValues) -> list[Split]:
    """Read folders of images and value masks.

    Args:
        folders: (split name, images, masks).
        values: meaning of the masks' pixel values.

    Raises:
        FileNotFoundError, ValueError: a folder without any pair of image and mask.
    """
    mask_type = "merge" if "lesion" in values.names.values() else "both"
    classes = ("lesion",) if mask_type == "merge" else ("GGO", "C")
    splits = []
    for name, images, masks in folders:
        unpaired = collecting()
        pairs = with_flattened_patients(pair_files(images, masks, unpaired))
        findings = [Finding("unpaired_file", (name,), text) for text in unpaired.messages]
        slices = [
            _masked_slice(name, pair, values, mask_type, findings)
            for pair in tqdm(pairs, desc=f"masks of {name}", unit="mask", disable=None)
        ]
        origin = f"{images},{masks}"
        splits.append(Split(name, origin, classes, slices, findings, of_lesions=True))
    return splits


def _unusable(split: str, errors: ErrorPolicy) -> list[Finding]:
    return [Finding("unusable_line", (split,), text) for text in errors.messages]


def _image_slice(split: str, record: dict) -> Slice:
    return Slice(
        split=split,
        path=record["file_name"],
        name=str(record["image_id"]),
        label=record["label"],
        patient=record["patient"],
        scan=record["scan"],
        source=record.get("source", ""),
        body_box=record.get("body_box"),
    )


def _lesion_slice(split: str, record: dict) -> Slice:
    size = record["height"], record["width"]
    lesions = [
        Lesion(item["category_id"], _area(item, size)) for item in record.get("annotations", ())
    ]
    return Slice(
        split=split,
        path=record["file_name"],
        name=os.path.basename(record["file_name"]),
        patient=record.get("patient"),
        scan=record.get("scan"),
        source=record.get("source", ""),
        size=size,
        lesions=lesions,
    )


def _area(annotation: dict, size: tuple[int, int]) -> int:
    """Area in pixels of an RLE or of polygons; of the box (x, y, width, height) without either."""
    mask = annotation.get("segmentation")
    if not mask:
        _, _, width, height = annotation["bbox"]
        return round(width * height)
    if isinstance(mask, list):
        mask = mask_util.merge(mask_util.frPyObjects(mask, *size))
    elif isinstance(mask["counts"], list):
        mask = mask_util.frPyObjects(mask, *size)
    return int(mask_util.area(mask))


def _masked_slice(
    split: str, pair: Pair, values: MaskValues, mask_type: str, findings: list[Finding]
) -> Slice:
    """A slice with the lesions of its mask; what is wrong with the mask goes to `findings`."""
    image, path, extra = pair
    item = Slice(split, str(image), image.name, patient=extra.get("patient"))
    try:
        mask = read_mask(path)
        item.size = mask.shape[0], mask.shape[1]
        found = lesion_instances(mask, values, mask_type)
        if check_slice(image) != item.size:
            return item  # reported with the images; whose lesions these are is unknown
    except (OSError, ValueError) as error:
        text = str(error)
        message = text if text.startswith(str(path)) else f"{path}: {text}"
        findings.append(Finding("unusable_mask", (split,), message, (str(image),)))
    else:
        item.lesions = [Lesion(lesion["category_id"] - 1, lesion["area"]) for lesion in found]
    return item
