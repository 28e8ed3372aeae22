"""Image-level datasets: a CSV `file,label,patient,scan` -> Detectron2 dataset dicts."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from .classes import IMAGE_CLASSES
from .images import require_files

COLUMNS = ("file", "label", "patient", "scan")


def load_image_list(
    csv_path: str | os.PathLike, classes: Sequence[str] = IMAGE_CLASSES
) -> list[dict]:
    """Read a list of labelled slices.

    Args:
        csv_path: UTF-8 CSV with the header `file,label,patient,scan` (further columns are
            ignored). `file` is relative to the CSV's folder; `label` is 0..C-1 or a class name.
        classes: the C class names, in the order of the labels.

    Returns:
        One {"file_name", "image_id", "label", "patient", "scan"} a line, in the list's order;
        image_id is `file` as the list has it.

    Raises:
        FileNotFoundError: the list, or an image in it, is missing (the first one is named).
        ValueError: what is wrong with which line.
    """
    path = Path(csv_path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such image list (CSV {','.join(COLUMNS)})")
    labels = {str(label): label for label in range(len(classes))}
    labels.update({name: label for label, name in enumerate(classes)})
    records: list[dict] = []
    lines: dict[str, int] = {}  # file -> line
    # utf-8-sig: spreadsheets write a byte-order mark that would become part of "file".
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        try:
            _check_header(path, reader.fieldnames or ())
            for row in reader:
                place = f"{path}, line {reader.line_num}"
                file, label, patient, scan = (_field(place, row, column) for column in COLUMNS)
                if label not in labels:
                    raise ValueError(
                        f"{place}: unknown label '{label}', expected 0 to {len(classes) - 1} or "
                        f"one of {', '.join(classes)}"
                    )
                if file in lines:
                    raise ValueError(f"{place}: {file} is already in line {lines[file]}")
                lines[file] = reader.line_num
                records.append(
                    {
                        "file_name": str(path.parent / file),
                        "image_id": file,
                        "label": labels[label],
                        "patient": patient,
                        "scan": scan,
                    }
                )
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a UTF-8 CSV file ({error})") from None
    if not records:
        raise ValueError(f"{path}: found no slice, expected a line for each after the header")
    require_files((record["file_name"] for record in records), listed_in=path)
    return records


def _check_header(path: Path, header: Sequence[str]) -> None:
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise ValueError(
            f"{path}, line 1: found the columns '{','.join(header)}', expected "
            f"'{','.join(COLUMNS)}' (no {', '.join(missing)})"
        )


def _field(place: str, row: dict, column: str) -> str:
    value = (row[column] or "").strip()
    if not value:
        hint = "; give each slice its own if unknown" if column in ("patient", "scan") else ""
        raise ValueError(f"{place}: no value for '{column}' (too few fields?){hint}")
    return value
