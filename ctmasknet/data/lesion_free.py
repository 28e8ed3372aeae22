"""Slices without lesions -> a COCO file that joins one with lesions in training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import RAISE, ErrorPolicy
from .coco_lesions import read_lesion_classes
from .image_lists import relative_path, usable_images
from .images import check_slice
from .lesion_masks import lesion_categories, write_parts
from .list_files import parse_lines, read_csv
from .mask_pairs import files_by_stem

_PREPARED = "slices.csv"  # the list that `ctmasknet prepare volumes` writes beside slices


def prepare_lesion_free(
    slices: Path,
    output: Path,
    like: Path,
    where: Sequence[tuple[str, str]] = (),
    errors: ErrorPolicy = RAISE,
) -> str:
    """Write a COCO file of slices without lesions, which are believed to have none.

    Args:
        slices: a folder tree of images, whose first folders are patients; or a CSV with the column
            `file`, relative to it, and perhaps `patient` and `scan`.
        output: .json; file names in it are relative to its folder.
        like: the COCO file of lesions whose classes it gets.
        where: (column, value) that lines of the CSV must have.
        errors: policy for unusable lines and images.

    Returns:
        What was written, in words.

    Raises:
        FileNotFoundError: no such folder, list, image or `like`.
        ValueError: no usable slice, a file that cannot be used, or a folder that
            `ctmasknet prepare volumes` has written, whose list tells more.
    """
    if output.suffix.lower() != ".json" or output.is_dir() or output.resolve() == like.resolve():
        raise ValueError(f"{output}: expected the name of a new .json file to write")
    if not like.is_file():
        raise FileNotFoundError(f"{like}: no such COCO file of lesions")
    classes = read_lesion_classes(like)
    is_list = slices.suffix.lower() == ".csv"
    if where and not is_list:
        raise ValueError(f"{slices}: a column is asked for (--where), expected a list (.csv)")
    found = _listed(slices, where, errors) if is_list else _in_folder(slices, errors)
    images: list[dict] = []
    for record in usable_images(found, errors):
        path = Path(record.pop("file_name"))
        height, width = check_slice(path)
        file = {"id": len(images) + 1, "file_name": relative_path(path, output.parent)}
        images.append({**file, "height": height, "width": width, **record})
    coco = {
        "info": {"description": "CT slices without lesions"},
        "images": images,
        "annotations": [],
        "categories": lesion_categories(classes),
    }
    return write_parts({"": coco}, output)


def _listed(path: Path, where: Sequence[tuple[str, str]], errors: ErrorPolicy) -> list[dict]:
    """Return "file_name" and, where they are told, "patient" and "scan" of the lines chosen."""

    def parse(row: Mapping[str, str | None]) -> dict:
        values = {key: (row.get(key) or "").strip() for key in ("file", "patient", "scan")}
        if not (file := values.pop("file")):
            raise ValueError("no value for 'file'")
        known = {key: value for key, value in values.items() if value}
        return {"file_name": str(path.parent / file), "image_id": file, **known}

    lines = [
        (number, row)
        for number, row in read_csv(path, "list of slices", ("file", *(key for key, _ in where)))
        if all((row[key] or "").strip() == value for key, value in where)
    ]
    if not lines:
        asked = " and ".join(f"{key}={value}" for key, value in where)
        raise ValueError(f"{path}: found no slice" + (f" with {asked}" if asked else ""))
    records = parse_lines(path, lines, parse, errors)
    return [{k: v for k, v in record.items() if k != "image_id"} for record in records]


def _in_folder(folder: Path, errors: ErrorPolicy) -> list[dict]:
    for list_file in (folder / _PREPARED, folder.parent / _PREPARED):
        if list_file.is_file() and (list_file.parent == folder or folder.name == "slices"):
            raise ValueError(
                f"{folder}: its patients and scans stand in {list_file}: name that list"
            )
    return [
        {"file_name": str(path)} | ({"patient": stem.parts[0]} if len(stem.parts) > 1 else {})
        for stem, path in files_by_stem(folder, errors).items()
    ]
