"""Image-level datasets: a CSV `file,label,patient,scan` <-> Detectron2 dataset dicts."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from ..atomic_write import atomic_write
from ..errors import RAISE, ErrorPolicy
from .classes import IMAGE_CLASSES
from .images import read_slice, require_files

COLUMNS = ("file", "label", "patient", "scan")
BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")


@contextmanager
def open_list(path: Path, what: str = "image list") -> Iterator[csv.DictReader]:
    """Open a CSV with at least the columns `file,label,patient,scan`.

    Args:
        path: UTF-8 CSV.
        what: it is a list of, for messages.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, or it is no UTF-8 CSV.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such {what} (CSV {','.join(COLUMNS)})")
    # utf-8-sig: spreadsheets write a byte-order mark that would become part of "file".
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        try:
            header = reader.fieldnames or ()
            missing = [column for column in COLUMNS if column not in header]
            if missing:
                raise ValueError(
                    f"{path}, line 1: found the columns '{','.join(header)}', expected "
                    f"'{','.join(COLUMNS)}' (no {', '.join(missing)})"
                )
            yield reader
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a UTF-8 CSV file ({error})") from None


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
        errors: of unusable lines; where they are collected, nobody looks whether images exist.

    Returns:
        One {"file_name", "image_id", "label", "patient", "scan"} a line, in the list's order, with
        "source" and "body_box" where the list has them; image_id is `file` as the list has it.

    Raises:
        FileNotFoundError: the list, or an image in it, is missing (the first one is named).
        ValueError: what is wrong with which line, or there is no usable line.
    """
    path = Path(csv_path)
    labels = {str(label): label for label in range(len(classes))}
    labels.update({name: label for label, name in enumerate(classes)})
    records: list[dict] = []
    lines: dict[str, int] = {}  # file -> line
    with open_list(path) as reader:
        for row in reader:
            try:
                record = _parse_row(row, labels, classes)
                check_twice(record["image_id"], lines, reader.line_num)
            except ValueError as error:
                message = f"{path}, line {reader.line_num}: {error}"
                errors.handle(ValueError(message))
                continue
            records.append({"file_name": str(path.parent / record["image_id"]), **record})
    if not records:
        raise ValueError(f"{path}: found no slice, expected a line for each after the header")
    if not errors.collects:
        require_files((record["file_name"] for record in records), listed_in=path)
    return records


def label_names(csv_path: str | os.PathLike) -> set[str]:
    """The labels of an image list as they are written, looking at nothing else.

    Raises:
        FileNotFoundError, ValueError: there is no such list, or it is not one.
    """
    with open_list(Path(csv_path)) as reader:
        return {label for row in reader if (label := (row["label"] or "").strip())}


def find_classes(csv_paths: Sequence[str | os.PathLike]) -> tuple[str, ...]:
    """The class names of image lists that belong together.

    Args:
        csv_paths: the lists of one experiment.

    Returns:
        The papers' three classes when their names or numbers are all that occurs; else the names
        that occur, sorted.

    Raises:
        FileNotFoundError, ValueError: a list that cannot be used, or numbers among names of one's
            own, whose order nobody can know.
    """
    found = sorted(set().union(*map(label_names, csv_paths)))
    if set(found) <= {*IMAGE_CLASSES, *map(str, range(len(IMAGE_CLASSES)))}:
        return IMAGE_CLASSES
    numbers = [name for name in found if name.isdecimal()]
    if numbers:
        raise ValueError(
            f"{', '.join(map(str, csv_paths))}: found the labels {', '.join(found)}; what number "
            f"{numbers[0]} means is not known: write names, or list the names in their order in "
            "DATASETS.IMAGE_CLASSES"
        )
    return tuple(found)


def usable_images(records: Sequence[dict], errors: ErrorPolicy = RAISE) -> list[dict]:
    """The records whose image is an intact 8-bit slice; every image is read to its end.

    Args:
        records: dicts with "file_name".
        errors: of the others.

    Raises:
        FileNotFoundError, ValueError: as `read_slice`, or no image is usable.
    """
    usable = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside Python's lock
        problems = pool.map(_problem_of, records)
        progress = tqdm(problems, "images", len(records), unit="slice", disable=None)
        for record, problem in zip(records, progress, strict=True):
            if problem is None:
                usable.append(record)
            else:
                if not errors.collects:
                    pool.shutdown(cancel_futures=True)
                errors.handle(problem)
    if not usable:
        raise ValueError("none of the images listed can be used")
    return usable


def write_image_list(records: Sequence[dict], classes: Sequence[str], path: Path) -> None:
    """Write dataset dicts as an image list, whole or not at all.

    Args:
        records: as of `load_image_list`.
        classes: class names in the order of the labels.
        path: CSV to write; "file" becomes relative to its folder.
    """
    boxed = any("body_box" in record for record in records)
    sourced = any(record.get("source") for record in records)
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*COLUMNS, *["source"] * sourced, *(BOX_COLUMNS if boxed else ())])
        for record in records:
            file = relative_path(Path(record["file_name"]), path.parent)
            row = [file, classes[record["label"]], record["patient"], record["scan"]]
            row += [record.get("source", "")] * sourced
            writer.writerow(row + list(record.get("body_box", [""] * 4) if boxed else ()))


def relative_path(file: Path, root: Path) -> str:
    """A file's path from a folder, with forward slashes."""
    # Both sides without symbolic links: ".." behind a link leads elsewhere.
    here = os.path.join(os.path.realpath(file.parent), file.name)
    return Path(os.path.relpath(here, os.path.realpath(root))).as_posix()


def _parse_row(row: dict, labels: dict[str, int], classes: Sequence[str]) -> dict:
    file, label, patient, scan = (field_of(row, column) for column in COLUMNS)
    if label not in labels:
        raise ValueError(
            f"unknown label '{label}', expected 0 to {len(classes) - 1} or one of "
            f"{', '.join(classes)}"
        )
    record = {"image_id": file, "label": labels[label], "patient": patient, "scan": scan}
    if row.get("source"):
        record["source"] = row["source"].strip()
    box = [(row.get(column) or "").strip() for column in BOX_COLUMNS]
    if any(box):
        if not all(corner.isdecimal() for corner in box):
            raise ValueError(f"box '{' '.join(box)}', expected four whole numbers >= 0")
        record["body_box"] = [int(corner) for corner in box]
    return record


def check_twice(file: str, lines: dict[str, int], line: int) -> None:
    """Note the line of a file in `lines`; ValueError when it has one, however it is written."""
    known = os.path.normpath(file)
    if known in lines:
        raise ValueError(f"{file} is already in line {lines[known]}")
    lines[known] = line


def field_of(row: dict, column: str) -> str:
    """The text in a column of COLUMNS; ValueError when there is none."""
    value = (row[column] or "").strip()
    if not value:
        hint = "; give each slice its own if unknown" if column in ("patient", "scan") else ""
        raise ValueError(f"no value for '{column}' (too few fields?){hint}")
    return value


def _problem_of(record: dict) -> Exception | None:
    try:
        read_slice(record["file_name"])
    except (FileNotFoundError, ValueError) as error:
        return error
    return None
