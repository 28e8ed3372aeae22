"""Slices of a data set with their truth, chosen by number, by file or evenly."""

import difflib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from detectron2.data import MetadataCatalog
from detectron2.data.detection_utils import annotations_to_instances
from detectron2.structures import BitMasks

from ..data.image_lists import find_classes
from ..data.registration import read_dataset, register_paths
from ..inference.predictions import Instance

Record = Mapping[str, Any]  # a Detectron2 dataset dict


@dataclass(frozen=True)
class DatasetSlice:
    """A slice of a data set with its truth."""

    file: str
    stem: str  # of the names of its figures, unique in the data set
    label: str | None  # the true class; None if the data set has none
    lesions: tuple[Instance, ...] | None  # the true ones; None if unknown


def choose_slices(
    dataset: str, wanted: Sequence[str] = (), count: int = 4, lesions: str | None = None
) -> list[DatasetSlice]:
    """Choose slices of a data set: those wanted (see `find_record`), or `count` evenly spaced.

    Args:
        dataset: a registered name, or the path of a COCO file (.json) or an image list (.csv).
        lesions: the lesion data set that has the truth of the same files; None is `dataset`.

    Raises:
        FileNotFoundError, ValueError: a data set cannot be read, a slice is not in it, or
            `lesions` has none of the slices.
    """
    name, records = _open_dataset(dataset)
    chosen = [find_record(records, one) for one in wanted] or spread_over(records, count)
    truth_name, truth_records = _open_dataset(lesions) if lesions else (name, records)
    truth = {os.path.realpath(record["file_name"]): record for record in truth_records}
    (lesion_classes, _), (_, labels) = class_names(truth_name), class_names(name)
    stems = output_stems(records)
    slices = []
    for index in chosen:
        file, label = records[index]["file_name"], records[index].get("label")
        found = true_instances(truth.get(os.path.realpath(file), {}), lesion_classes)
        known = None if label is None else labels[label]
        slices.append(DatasetSlice(file, stems[index], known, found))
    if lesions and all(one.lesions is None for one in slices):
        raise ValueError(
            f"{lesions}: has lesions of none of the slices chosen, the first is {slices[0].file}; "
            "expected a lesion data set of the same image files"
        )
    return slices


def class_names(dataset: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the lesion and the image classes of a loaded data set, () where it has none."""
    known = MetadataCatalog.get(dataset)
    return tuple(known.get("thing_classes", ())), tuple(known.get("image_classes", ()))


def true_instances(record: Record, class_names: Sequence[str]) -> tuple[Instance, ...] | None:
    """Return a slice's true lesions with score 1, crowds left out; None where they are not known.

    The record is a dataset dict, or one of a training batch. `class_names` are the lesion classes
    in the order of their ids.
    """
    if "instances" in record:
        target = record["instances"]
    elif "annotations" in record:
        lesions = [item for item in record["annotations"] if not item.get("iscrowd")]
        target = annotations_to_instances(lesions, (record["height"], record["width"]), "bitmask")
    else:
        return None
    rles: list[dict | None] = [None] * len(target)
    if target.has("gt_masks"):
        masks = target.gt_masks
        if not isinstance(masks, BitMasks):
            masks = BitMasks.from_polygon_masks(masks, *target.image_size)
        rles = mask_util.encode(
            np.asfortranarray(masks.tensor.numpy().transpose(1, 2, 0), np.uint8)
        )
    boxes = target.gt_boxes.tensor.tolist()
    return tuple(
        Instance(class_names[label], 1.0, tuple(box), rle)
        for label, box, rle in zip(target.gt_classes.tolist(), boxes, rles, strict=True)
    )


def spread_over(records: Sequence[Record], count: int) -> list[int]:
    """Return the indices of at most `count` records, evenly spaced from the first to the last."""
    if count < 1:
        raise ValueError(f"count is {count}, expected 1 or more slices")
    chosen = np.linspace(0, len(records) - 1, min(count, len(records)))
    return np.rint(chosen).astype(int).tolist()


def find_record(records: Sequence[Record], wanted: str) -> int:
    """Return the index of a slice, given its number, its file or the last parts of its path.

    The ValueError for no match gives the nearest names, that for several gives examples.
    """
    if wanted.isdecimal():
        if int(wanted) < len(records):
            return int(wanted)
        raise ValueError(f"slice {wanted}: expected a number from 0 to {len(records) - 1}")
    files = [os.path.abspath(record["file_name"]) for record in records]
    parts = Path(os.path.normpath(wanted)).parts
    found = [
        index
        for index, file in enumerate(files)
        if file == os.path.abspath(wanted) or Path(file).parts[-len(parts) :] == parts
    ]
    if len(found) == 1:
        return found[0]
    names = _short_names(files)
    if found:
        examples = ", ".join(names[index] for index in found[:3])
        raise ValueError(f"slice {wanted}: {len(found)} files end so ({examples}); give more of it")
    near = difflib.get_close_matches(wanted, names, cutoff=0.3)
    raise ValueError(
        f"slice {wanted}: not in the data set, nearest names: {', '.join(near) or 'none'}; or "
        f"give a number from 0 to {len(records) - 1}"
    )


def output_stems(records: Sequence[Record]) -> list[str]:
    """Return a name for the figures of each slice: its file's stem.

    Where some are equal (P1/3.png and P2/3.png), all are made of paths: "P1_3" and "P2_3".
    """
    files = [os.path.abspath(record["file_name"]) for record in records]
    stems = [Path(file).stem for file in files]
    if len(set(stems)) < len(stems):
        stems = ["_".join(Path(name).with_suffix("").parts) for name in _short_names(files)]
    twice = [stem for stem, number in Counter(stems).items() if number > 1]
    if twice:
        raise ValueError(f"{twice[0]}: the figures of two slices would have this name; rename one")
    return stems


def slice_name(source: str) -> str:
    """Return file and folder: the file is often just a number, the folder the patient."""
    return "/".join(Path(source).parts[-2:])


def _open_dataset(name: str) -> tuple[str, list[dict]]:
    """Load a data set by its name or path; return its registered name and its records."""
    classes = find_classes([name]) if name.lower().endswith(".csv") else ()
    (known,) = register_paths([name], classes)
    return known, read_dataset(known)


def _short_names(files: Sequence[str]) -> list[str]:
    """Return the paths from the folder that they have in common."""
    root = os.path.commonpath([os.path.dirname(file) for file in files])
    return [os.path.relpath(file, root) for file in files]
