"""Data set files -> files of their parts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import RAISE, ErrorPolicy
from .classes import IMAGE_CLASSES, SPLITS
from .covidx import read_covidx_list
from .image_lists import describe_records, relative_path, usable_images, write_image_list
from .list_files import parse_lines, read_csv, required_values, write_csv
from .prepare import write_parts
from .registration import reading_coco
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
    """Split a data set's file by patients (see `split_patients`) and say what was written.

    `path` is an image list (.csv), a COCO file of lesions (.json) or a split list of COVIDx-CT
    (.txt); `images` and `metadata` of the latter are as for `read_covidx_list`. The parts go to
    `output`, as <stem>_<part>.csv or .json. `errors` is the policy for unusable lines and images.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".json", ".txt"):
        raise ValueError(f"{path}: expected an image list (.csv), lesions (.json) or a .txt list")
    ending = ".json" if suffix == ".json" else ".csv"
    files = {part: output / f"{path.stem}_{part}{ending}" for part in (*weights, *SPLITS)}
    lines = []
    if suffix == ".json":
        parts = split_coco(_read_coco(path, output), weights, seed)
        lines.append(write_parts(parts, output / path.name))
    else:
        if suffix == ".csv":
            records = usable_images(_read_rows(path, errors), errors)
            names = {label: label for label in sorted({record["label"] for record in records})}
        elif images is None or not images.is_dir():
            raise FileNotFoundError(f"{images or path}: need the folder of the images (--images)")
        else:
            records = usable_images(read_covidx_list(path, images, metadata, errors), errors)
            names = dict(enumerate(IMAGE_CLASSES))
        for part, mine in split_records(records, weights, seed).items():
            if suffix == ".csv":
                _write_rows(mine, files[part])
            else:
                write_image_list(mine, IMAGE_CLASSES, files[part])
            lines.append(f"{files[part]}: {describe_records(mine, names)}")
    lines += [
        f"{file}: of an earlier split, may share patients with the parts above: remove it"
        for part, file in files.items()
        if part not in weights and file.exists()
    ]
    return "\n".join(lines)


def _read_coco(path: Path, output: Path) -> dict:
    """Read a COCO file, with "file_name" relative to the folder `output`."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with reading_coco(path):
        coco = json.loads(path.read_text(encoding="utf-8"))
        for image in coco["images"]:
            image["file_name"] = relative_path(path.parent / image["file_name"], output)
    return coco


def _read_rows(path: Path, errors: ErrorPolicy) -> list[dict]:
    """Read an image list with all its columns; labels are not interpreted."""

    def parse(row: dict) -> dict:
        file, label, patient, _ = required_values(row)
        name = str(path.parent / file)
        return {"file_name": name, "image_id": file, "label": label, "patient": patient, "row": row}

    return parse_lines(path, read_csv(path, "image list"), parse, errors)


def _write_rows(records: Sequence[dict], file: Path) -> None:
    columns = [column for column in records[0]["row"] if column is not None]
    rows = (
        {**record["row"], "file": relative_path(Path(record["file_name"]), file.parent)}
        for record in records
    )
    write_csv(file, columns, rows)
