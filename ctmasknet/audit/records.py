"""Lists, COCO files and folders of any kind -> one record per slice of every split."""

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
from ..data.image_lists import find_classes, find_labels, load_image_list
from ..data.images import check_slice, read_mask
from ..data.lesion_masks import lesion_instances
from ..data.mask_pairs import Pair, pair_files, with_flattened_patients
from ..data.mask_rule import ALL_CLASSES
from ..data.registration import read_dataset, register_lesion_dataset
from ..data.rle import compressed_rle
from ..errors import ErrorPolicy, collecting
from ..wording import same_but_for_spelling
from .findings import Finding


class Lesion(NamedTuple):
    """An instance: index of its class among the split's classes, area in pixels."""

    label: int
    area: int


@dataclass(slots=True)
class Slice:
    """A slice of a split; what its list does not tell is None (source: "")."""

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
    """A data set to be audited."""

    name: str  # unique among the splits
    origin: str  # the name or path that was given
    classes: tuple[str, ...]  # of images or, in a lesion data set, of lesions; index = label
    slices: list[Slice]  # everything usable in it
    findings: list[Finding] = field(default_factory=list)  # what could not be used
    has_images: bool = True  # image files are at hand
    of_lesions: bool = False
    category_ids: tuple[int, ...] = ()  # of `classes` in a COCO file


def splits_of_datasets(names: Sequence[str]) -> list[Split]:
    """Read registered names, or .csv (image list) and .json (COCO) files, each as one split.

    FileNotFoundError, ValueError: a data set that cannot be used as a whole.
    """
    lists = [name for name in names if name.lower().endswith(".csv")]
    try:
        classes = find_classes(lists)
    except ValueError:
        # 0, 1 and 2 are classes without names, others beside them are reported line by line, and so
        # is a class that is written in several ways.
        found, numbers = find_labels(lists), {"0", "1", "2"}
        if numbers.issuperset(found):
            classes = tuple(f"class {k}" for k in range(int(found[-1]) + 1))
        elif {*numbers, *IMAGE_CLASSES}.intersection(found):
            classes = IMAGE_CLASSES
        elif same_but_for_spelling(found):
            classes = tuple(found)
        else:
            raise
    return [
        _split_of_list(name, origin, classes)
        if origin.lower().endswith(".csv")
        else _split_of_dataset(name, origin)
        for name, origin in zip(_unique_names(names), names, strict=True)
    ]


def splits_of_covidx(
    lists: Sequence[tuple[str, Path]], images: Path | None, metadata: Path | None
) -> list[Split]:
    """Read split lists of COVIDx-CT, (split name, list); `images` is their folder, if at hand.

    FileNotFoundError, ValueError: a file that cannot be used as a whole.
    """
    splits = []
    for name, path in lists:
        errors = collecting()
        slices = _slices(name, read_covidx_list(path, images, metadata, errors))
        findings = _set_aside("unusable_line", name, errors)
        has_images = images is not None
        splits.append(Split(name, str(path), IMAGE_CLASSES, slices, findings, has_images))
    return splits


def splits_of_folders(folders: Sequence[tuple[str, Path, Path]], values: MaskValues) -> list[Split]:
    """Read folders of images and value masks, (split name, images, masks).

    FileNotFoundError, ValueError: a folder without any pair of image and mask.
    """
    classes = values.classes(ALL_CLASSES)
    splits = []
    for name, images, masks in folders:
        errors = collecting()
        pairs = with_flattened_patients(pair_files(images, masks, errors))
        findings = _set_aside("unpaired_file", name, errors)
        slices = [
            _masked_slice(name, pair, values, findings)
            for pair in tqdm(pairs, desc=f"masks of {name}", unit="mask", disable=None)
        ]
        origin = f"{images},{masks}"
        splits.append(Split(name, origin, classes, slices, findings, of_lesions=True))
    return splits


def _unique_names(origins: Sequence[str]) -> list[str]:
    """Return the stems of files, with their folder where two are the same."""
    stems = [Path(origin).stem if _is_file(origin) else origin for origin in origins]
    return [
        f"{Path(origin).resolve().parent.name}/{stem}"
        if _is_file(origin) and stems.count(stem) > 1
        else stem
        for origin, stem in zip(origins, stems, strict=True)
    ]


def _is_file(origin: str) -> bool:
    return origin.lower().endswith((".csv", ".json"))


def _split_of_list(name: str, path: str, classes: tuple[str, ...]) -> Split:
    errors = collecting()
    slices = _slices(name, load_image_list(path, classes, errors))
    return Split(name, path, classes, slices, _set_aside("unusable_line", name, errors))


def _split_of_dataset(name: str, origin: str) -> Split:
    """Read a registered data set, or a COCO file."""
    if _is_file(origin):
        if not Path(origin).is_file():
            raise FileNotFoundError(f"{origin}: no such dataset file")
        register_lesion_dataset(name, origin)
    errors = collecting()
    records = read_dataset(name, errors)
    metadata = MetadataCatalog.get(name)
    if metadata.evaluator_type != "coco":
        findings = _set_aside("unusable_line", name, errors)
        classes = tuple(metadata.image_classes)
        return Split(name, origin, classes, _slices(name, records), findings)
    findings = _set_aside("unusable_lesion", name, errors)
    slices = [_lesion_slice(name, record) for record in records]
    classes = tuple(metadata.thing_classes)
    ids = tuple(metadata.thing_dataset_id_to_contiguous_id)
    return Split(name, origin, classes, slices, findings, of_lesions=True, category_ids=ids)


def _set_aside(kind: str, split: str, errors: ErrorPolicy) -> list[Finding]:
    return [Finding(kind, (split,), text) for text in errors.messages]


def _slices(split: str, records: Sequence[dict]) -> list[Slice]:
    return [
        Slice(split, item["file_name"], str(item["image_id"]), item["label"], **_known(item))
        for item in records
    ]


def _lesion_slice(split: str, record: dict) -> Slice:
    size = record["height"], record["width"]
    lesions = [
        Lesion(item["category_id"], int(mask_util.area(compressed_rle(item["segmentation"], size))))
        for item in record["annotations"]
        if not item["iscrowd"]
    ]
    path = record["file_name"]
    return Slice(split, path, os.path.basename(path), **_known(record), size=size, lesions=lesions)


def _known(record: dict) -> dict:
    return {key: record[key] for key in ("patient", "scan", "source", "body_box") if key in record}


def _masked_slice(split: str, pair: Pair, values: MaskValues, findings: list[Finding]) -> Slice:
    """Make a slice with its mask's lesions; what is wrong with the mask goes to `findings`."""
    image, path, extra = pair
    item = Slice(split, str(image), image.name, patient=extra.get("patient"))
    try:
        mask = read_mask(path)
        item.size = mask.shape[0], mask.shape[1]
        found = lesion_instances(mask, values, ALL_CLASSES)
        if check_slice(image) == item.size:  # else reported with the images
            item.lesions = [Lesion(lesion["category_id"] - 1, lesion["area"]) for lesion in found]
    except (OSError, ValueError) as error:
        text = str(error)
        message = text if text.startswith(str(path)) else f"{path}: {text}"
        findings.append(Finding("unusable_mask", (split,), message, (str(image),)))
    return item
