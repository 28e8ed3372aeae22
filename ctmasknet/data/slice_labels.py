"""Labels that radiologists gave the slices of scans: a CSV with a line for each slice's file."""

from collections.abc import Mapping
from pathlib import Path

from .list_files import read_csv


def slice_key(file: str | Path) -> str:
    """Return what names a slice wherever its scan lies: its folder and its name."""
    return "/".join(Path(file).parts[-2:])


def read_slice_columns(path: Path) -> dict[str, Mapping[str, str]]:
    """Read a CSV of slices with the column `file` (folder/name): `slice_key` -> other columns.

    A FileNotFoundError: no such file. A ValueError: no such column, a slice listed twice, or no
    slice.
    """
    labels: dict[str, Mapping[str, str]] = {}
    for line, row in read_csv(path, "list of labelled slices", ("file",)):
        key = slice_key((row.pop("file") or "").strip())
        if key in labels:
            raise ValueError(f"{path}, line {line}: {key} is listed a second time")
        # None: the key of values without a column, or the value of a column the line is short of.
        labels[key] = {name: (value or "").strip() for name, value in row.items() if name}
    if not labels:
        raise ValueError(f"{path}: found no slice, expected a line for each after the header")
    return labels


def read_slice_labels(path: Path, column: str = "infected") -> dict[str, bool]:
    """Read one column of such a CSV: `slice_key` -> whether it is 1.

    Errors as `read_slice_columns`; a ValueError for a label that is not 0 or 1, too.
    """
    labels = {}
    for key, row in read_slice_columns(path).items():
        if column not in row:
            raise ValueError(f"{path}: found the columns {', '.join(row)}, expected {column}")
        try:
            labels[key] = {"0": False, "1": True}[row[column]]
        except KeyError:
            raise ValueError(
                f"{path}: {column} of {key} is '{row[column]}', expected 0 or 1"
            ) from None
    return labels
