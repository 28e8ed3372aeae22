"""Data set files -> files of their parts."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..atomic_write import atomic_write
from ..errors import RAISE, ErrorPolicy
from .classes import IMAGE_CLASSES, SPLITS
from .covidx import read_covidx_list
from .image_lists import (
    COLUMNS,
    check_twice,
    field_of,
    open_list,
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
    errors: ErrorPolicy = RAISE,
) -> str:
    """Split a data set's file by patients; see `split_patients`.

    Args:
        path: image list (.csv), COCO file of lesions (.json) or split list of COVIDx-CT (.txt).
        weights: name of the part -> share.
        seed: same seed, same parts.
        output: folder for <stem>_<part>.csv (of .csv and .txt) or .json.
        images, metadata: as for `read_covidx_list`, of a .txt; `images` is needed there.
        errors: of unusable lines and images (.csv and .txt).

    Returns:
        What was written, for people.

    Raises:
        FileNotFoundError, ValueError: a file that cannot be used or split.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        coco_parts = split_coco(_read_coco(path, output), weights, seed)
        lines = [write_parts(coco_parts, output / path.name)]
    elif suffix == ".csv":
        records, columns = _read_rows(path, errors)
        lines = _write_rows(_usable_parts(records, weights, seed, errors), columns, output, path)
    elif suffix == ".txt":
        if images is None or not images.is_dir():
            raise FileNotFoundError(f"{images or path}: need the folder of the images (--images)")
        records = read_covidx_list(path, images, metadata, errors)
        lines = []
        for part, mine in _usable_parts(records, weights, seed, errors).items():
            file = _part_file(output, path, part, ".csv")
            write_image_list(mine, IMAGE_CLASSES, file)
            lines.append(f"{file}: {describe_records(mine, IMAGE_CLASSES)}")
    else:
        raise ValueError(f"{path}: expected an image list (.csv), lesions (.json) or a .txt list")
    return "\n".join(lines + _older_parts(path, weights, output))


def describe_records(records: Sequence[dict], classes: Sequence[str]) -> str:
    """Numbers of slices and patients, and of slices of each class; labels index `classes`."""
    counts = Counter(record["label"] for record in records)
    patients = len({record["patient"] for record in records})
    shares = ", ".join(f"{name} {counts[label]}" for label, name in enumerate(classes))
    return f"{len(records)} slices of {patients} patients ({shares})"


def _usable_parts(
    records: Sequence[dict], weights: Mapping[str, float], seed: int, errors: ErrorPolicy
) -> dict[str, list[dict]]:
    return split_records(usable_images(records, errors), weights, seed)


def _read_rows(path: Path, errors: ErrorPolicy) -> tuple[list[dict], list[str]]:
    """The lines of an image list with all their columns; labels are not interpreted."""
    records: list[dict] = []
    lines: dict[str, int] = {}
    with open_list(path) as reader:
        for row in reader:
            try:
                file, label, patient, _ = (field_of(row, column) for column in COLUMNS)
                check_twice(file, lines, reader.line_num)
            except ValueError as error:
                message = f"{path}, line {reader.line_num}: {error}"
                errors.handle(ValueError(message))
                continue
            name = str(path.parent / file)
            records.append({"file_name": name, "label": label, "patient": patient, "row": row})
        return records, list(reader.fieldnames or ())


def _write_rows(
    parts: Mapping[str, list[dict]], columns: Sequence[str], output: Path, path: Path
) -> list[str]:
    labels = sorted({record["label"] for mine in parts.values() for record in mine})
    lines = []
    for part, mine in parts.items():
        file = _part_file(output, path, part, ".csv")
        with (
            atomic_write(file) as partial,
            partial.open("w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            for record in mine:
                name = relative_path(Path(record["file_name"]), output)
                writer.writerow({**record["row"], "file": name})
        numbered = [{**record, "label": labels.index(record["label"])} for record in mine]
        lines.append(f"{file}: {describe_records(numbered, labels)}")
    return lines


def _part_file(output: Path, path: Path, part: str, suffix: str) -> Path:
    return output / f"{path.stem}_{part}{suffix}"


def _older_parts(path: Path, weights: Mapping[str, float], output: Path) -> list[str]:
    """Warnings of files that an earlier split into other parts left there."""
    suffix = ".json" if path.suffix.lower() == ".json" else ".csv"
    return [
        f"{file}: of an earlier split, may share patients with the parts above: remove it"
        for part in SPLITS
        if part not in weights and (file := _part_file(output, path, part, suffix)).exists()
    ]


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
