"""Data set files -> files of their parts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from .classes import IMAGE_CLASSES
from .covidx import read_covidx_list
from .image_lists import (
    find_classes,
    load_image_list,
    relative_path,
    usable_images,
    write_image_list,
)
from .lesion_parts import write_parts
from .registration import unusable_lesions
from .splits import split_coco, split_records


def split_file(
    path: Path,
    weights: Mapping[str, float],
    seed: int,
    output: Path,
    images: Path | None = None,
    metadata: Path | None = None,
    skipped: list[str] | None = None,
) -> str:
    """Split a data set's file by patients; see `split_patients`.

    Args:
        path: image list (.csv), COCO file of lesions (.json) or split list of COVIDx-CT (.txt).
        weights: name of the part -> share.
        seed: same seed, same parts.
        output: folder for <stem>_<part>.csv (of .csv and .txt) or .json.
        images, metadata: as for `read_covidx_list`, of a .txt; `images` is needed there.
        skipped: receives what cannot be used instead of an error (.csv and .txt).

    Returns:
        What was written, for people.

    Raises:
        FileNotFoundError, ValueError: a file that cannot be used or split.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        parts = split_coco(_read_coco(path, output), weights, seed)
        return write_parts(parts, output / path.name)
    if suffix == ".csv":
        classes = find_classes([path])
        records = load_image_list(path, classes, skipped)
    elif suffix == ".txt":
        if images is None or not images.is_dir():
            raise FileNotFoundError(f"{images or path}: need the folder of the images (--images)")
        classes = IMAGE_CLASSES
        records = read_covidx_list(path, images, metadata, skipped)
    else:
        raise ValueError(f"{path}: expected an image list (.csv), lesions (.json) or a .txt list")
    records = usable_images(records, skipped)
    lines = []
    for part, mine in split_records(records, weights, seed).items():
        file = output / f"{path.stem}_{part}.csv"
        write_image_list(mine, classes, file)
        lines.append(f"{file}: {describe_records(mine, classes)}")
    return "\n".join(lines)


def describe_records(records: Sequence[dict], classes: Sequence[str]) -> str:
    """Numbers of slices and patients, and of slices of each class."""
    counts = Counter(record["label"] for record in records)
    patients = len({record["patient"] for record in records})
    shares = ", ".join(f"{name} {counts[label]}" for label, name in enumerate(classes))
    return f"{len(records)} slices of {patients} patients ({shares})"


def _read_coco(path: Path, output: Path) -> dict:
    """A COCO file whose "file_name" are relative to the folder `output`."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        coco = json.loads(path.read_text(encoding="utf-8"))
        for image in coco["images"]:
            image["file_name"] = relative_path(path.parent / image["file_name"], output)
        return coco
    except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise unusable_lesions(path, error) from error
