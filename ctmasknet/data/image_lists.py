"""Image-level data sets: a CSV `file,label,patient,scan` <-> Detectron2 dataset dicts."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from ..errors import RAISE, ErrorPolicy
from ..wording import same_but_for_spelling
from .classes import IMAGE_CLASSES, label_numbers
from .images import read_slice, require_files
from .list_files import COLUMNS, parse_lines, read_csv, required_values, write_csv

BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")


def load_image_list(
    csv_path: str | os.PathLike,
    classes: Sequence[str] = IMAGE_CLASSES,
    errors: ErrorPolicy = RAISE,
) -> list[dict]:
    """Read a list of labelled slices.

    Args:
        csv_path: UTF-8 CSV with the header `file,label,patient,scan`, and perhaps `source` and the
            body's box `xmin,ymin,xmax,ymax`; further columns are ignored. `file` is relative to the
            CSV's folder; `label` is 0..C-1 or a class name.
        classes: the C class names, in the order of the labels.
        errors: policy for unusable lines. One that collects lets missing images pass.

    Returns:
        One {"file_name", "image_id", "label", "patient", "scan"} a line, in the list's order, with
        "source" and "body_box" where the list has them; image_id is `file` as the list has it.

    Raises:
        FileNotFoundError: the list, or an image in it, is missing.
        ValueError: a line that is wrong, or a list without a usable line.
    """
    path = Path(csv_path)
    labels = label_numbers(classes)

    def parse(row: Mapping[str, str | None]) -> dict:
        file, label, patient, scan = required_values(row)
        if label not in labels:
            raise ValueError(
                f"unknown label '{label}', expected 0 to {len(classes) - 1} or one of "
                f"{', '.join(classes)}"
            )
        record = {"file_name": str(path.parent / file), "image_id": file, "label": labels[label]}
        return {**record, "patient": patient, "scan": scan, **_source_and_box(row)}

    records = parse_lines(path, read_csv(path, "image list"), parse, errors)
    if not records:
        why = f"; the first is not usable: {errors.first}" if errors.first else ""
        raise ValueError(f"{path}: found no slice, expected a line for each after the header{why}")
    if not errors.collects:
        require_files((record["file_name"] for record in records), listed_in=path)
    return records


def find_labels(csv_paths: Sequence[str | os.PathLike]) -> list[str]:
    """Return the labels that occur in image lists, as they are written, sorted."""
    rows = (row for path in csv_paths for _, row in read_csv(Path(path), "image list"))
    return sorted({(row["label"] or "").strip() for row in rows} - {""})


def find_classes(csv_paths: Sequence[str | os.PathLike]) -> tuple[str, ...]:
    """Find the class names in the labels of all image lists of an experiment.

    The papers' three classes when only their names or numbers occur; else the names that occur,
    sorted. ValueError: numbers whose meaning is not known, such as 0 and 1, or 1 and 2, alone; a
    name that is written in several ways.
    """
    found = find_labels(csv_paths)
    where = ", ".join(dict.fromkeys(map(str, csv_paths)))
    papers = {*IMAGE_CLASSES, *map(str, range(len(IMAGE_CLASSES)))}
    # They may be two classes of someone's own, such as "no COVID" and "COVID", counted from 0 or 1.
    if papers.issuperset(found) and found not in (["1"], ["0", "1"], ["1", "2"]):
        return IMAGE_CLASSES
    if numbers := list(filter(_is_number, found)):
        raise ValueError(
            f"{where}: found the labels {', '.join(found)}; what number "
            f"{numbers[0]} means is not known: write names, or list those of 0, 1, ... in "
            "DATASETS.IMAGE_CLASSES"
        )
    if twins := same_but_for_spelling(found):
        raise ValueError(
            f"{where}: found the labels {' and '.join(twins)}, which may be one class: write each "
            "class in one way"
        )
    return tuple(found)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def usable_images(records: Sequence[dict], errors: ErrorPolicy = RAISE) -> list[dict]:
    """Select the records whose image is an intact 8-bit slice; each is read to its end.

    Errors are those of `read_slice`; ValueError when no image is usable.
    """
    usable = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside Python's lock
        problems = pool.map(_problem_of, records)
        progress = tqdm(problems, "images", len(records), unit="slice", disable=None)
        for record, problem in zip(records, progress, strict=True):
            if problem is None:
                usable.append(record)
                continue
            if not errors.collects:
                pool.shutdown(cancel_futures=True)
            errors.handle(problem)
    if not usable:
        raise ValueError("none of the images listed can be used")
    return usable


def write_image_list(records: Sequence[dict], classes: Sequence[str], path: Path) -> None:
    """Write dataset dicts as an image list; "file" becomes relative to the folder of `path`."""
    columns = [*COLUMNS]
    if any(record.get("source") for record in records):
        columns.append("source")
    if any("body_box" in record for record in records):
        columns += BOX_COLUMNS
    rows = (
        {
            **record,
            "file": relative_path(Path(record["file_name"]), path.parent),
            "label": classes[record["label"]],
            **dict(zip(BOX_COLUMNS, record.get("body_box", ()), strict=False)),
        }
        for record in records
    )
    write_csv(path, columns, rows)


def describe_records(records: Sequence[dict], names: Mapping) -> str:
    """Count slices, patients and slices of each label in words; `names` maps labels to names."""
    counts = Counter(record["label"] for record in records)
    patients = len({record["patient"] for record in records})
    shares = ", ".join(f"{name} {counts[label]}" for label, name in names.items())
    return f"{len(records)} slices of {patients} patients ({shares})"


def relative_path(file: Path, root: Path) -> str:
    """Return a file's path from a folder, with forward slashes."""
    # Links are resolved on both sides, as ".." behind a link leads elsewhere.
    here = os.path.join(os.path.realpath(file.parent), file.name)
    return Path(os.path.relpath(here, os.path.realpath(root))).as_posix()


def _source_and_box(row: Mapping[str, str | None]) -> dict:
    extra: dict = {}
    if source := row.get("source"):
        extra["source"] = source.strip()
    box = [(row.get(column) or "").strip() for column in BOX_COLUMNS]
    if any(box):
        if not all(corner.isdecimal() for corner in box):
            raise ValueError(f"box '{' '.join(box)}', expected four whole numbers >= 0")
        extra["body_box"] = [int(corner) for corner in box]
    return extra


def _problem_of(record: dict) -> Exception | None:
    try:
        read_slice(record["file_name"])
    except (FileNotFoundError, ValueError) as error:
        return error
    return None
