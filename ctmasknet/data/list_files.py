"""Lists of slices, line by line: CSV files, and file names one a line."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..atomic_write import atomic_write
from ..errors import ErrorPolicy

COLUMNS = ("file", "label", "patient", "scan")
_Item = TypeVar("_Item")
_Line = TypeVar("_Line")


def read_csv(
    path: Path, what: str, columns: Sequence[str] = COLUMNS
) -> Iterator[tuple[int, dict[str, str]]]:
    """Read a UTF-8 CSV that has at least these columns.

    Args:
        what: the file is, for messages.

    Yields:
        Number of the line (the header is 1), column -> value; None where a line is too short.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, or the file is no UTF-8 CSV.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such {what} (CSV {','.join(columns)})")
    # utf-8-sig: spreadsheets write a byte-order mark that would become part of the first column.
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        try:
            header = reader.fieldnames or ()
            missing = [column for column in columns if column not in header]
            if missing:
                raise ValueError(
                    f"{path}, line 1: found the columns '{','.join(header)}', expected "
                    f"'{','.join(columns)}' (no {', '.join(missing)})"
                )
            for row in reader:
                yield reader.line_num, row
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a UTF-8 CSV file ({error})") from None


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping]) -> None:
    """Write a CSV, whole or not at all; keys of `rows` that are no column are left out."""
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_lines(path: Path, what: str) -> list[tuple[int, str]]:
    """Read the lines of a text file that are not empty, each with its number from 1.

    Raises FileNotFoundError where there is no such file, ValueError where it is no text.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such {what}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error})") from None
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def read_names(path: str | os.PathLike) -> list[tuple[int, str]]:
    """Read file names, one a line, as `read_lines`; ValueError when there is none."""
    names = read_lines(Path(path), "list of slices (a file name a line)")
    if not names:
        raise ValueError(f"{path}: found no name, expected a file name a line")
    return names


def pick_named(
    path: str | os.PathLike,
    items: Mapping[Any, _Item],
    key_of: Callable[[str], Any],
    unknown: str,
) -> list[_Item]:
    """Pick the items that a list names, in its order.

    Args:
        path: text file, a file name a line.
        items: what there is to pick from.
        key_of: file name -> key of `items`.
        unknown: what to say of a name without an item.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: a name without an item, or named twice, with its line; an empty list.
    """
    picked: dict[int, _Item] = {}
    for number, name in read_names(path):
        item = items.get(key_of(name))
        if item is None:
            raise ValueError(f"{path}, line {number}: {name} {unknown}")
        if id(item) in picked:
            raise ValueError(f"{path}, line {number}: {name} is named twice: remove it")
        picked[id(item)] = item
    return list(picked.values())


def parse_lines(
    path: Path,
    lines: Iterable[tuple[int, _Line]],
    parse: Callable[[_Line], dict],
    errors: ErrorPolicy,
) -> list[dict]:
    """Make a dataset dict of each line of a list.

    Args:
        path: of the list, for messages.
        lines: line number, line.
        parse: line -> dict with "image_id"; raises ValueError.
        errors: of lines that cannot be parsed, and of a second line for the same image.
    """
    records: list[dict] = []
    line_of: dict[str, int] = {}
    for number, line in lines:
        try:
            record = parse(line)
            name = record["image_id"]
            first = line_of.setdefault(os.path.normpath(name), number)
            if first != number:
                raise ValueError(f"{name} is already in line {first}: remove one of them")
        except ValueError as error:
            errors.handle(ValueError(f"{path}, line {number}: {error}"))
        else:
            records.append(record)
    return records


def required_values(row: Mapping[str, str | None]) -> list[str]:
    """Return a row's values in the order of COLUMNS; ValueError when one is missing."""
    values = [(row[column] or "").strip() for column in COLUMNS]
    if not all(values):
        column = COLUMNS[values.index("")]
        hint = "; give each slice its own if unknown" if column in ("patient", "scan") else ""
        raise ValueError(f"no value for '{column}' (too few fields?){hint}")
    return values
