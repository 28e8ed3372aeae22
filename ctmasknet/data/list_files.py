"""Lists of slices, line by line: CSV files, and file names one a line."""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..atomic_write import atomic_write
from ..csv_cells import plain, write_rows
from ..errors import ErrorPolicy
from .images import what_else_it_is

COLUMNS = ("file", "label", "patient", "scan")
_Item = TypeVar("_Item")
_Line = TypeVar("_Line")


def read_csv(
    path: Path, what: str, columns: Sequence[str] = COLUMNS
) -> Iterator[tuple[int, dict[str, str]]]:
    """Read a UTF-8 CSV (`what` it is, for messages) that has at least these columns.

    Yields the number of the line (the header is 1) and column -> value, None where a line is too
    short. FileNotFoundError: no such file. ValueError: a missing column, or no UTF-8 CSV.
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
                if header and (found := what_else_it_is(path)):
                    raise ValueError(f"{path}: found {found}, expected the {what}")
                semicolons = ";" in "".join(header) and "; save it with commas, not semicolons"
                raise ValueError(
                    f"{path}, line 1: found the columns '{','.join(header)}', expected "
                    f"'{','.join(columns)}' (no {', '.join(missing)}){semicolons or ''}"
                )
            for row in reader:
                # None: the key of values without a column, or the value that a short line lacks.
                cells = {plain(k or "") or k: plain(v) if k and v else v for k, v in row.items()}
                if any(cells.values()):  # Excel ends a list with empty lines
                    yield reader.line_num, cells
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a UTF-8 CSV file ({error})") from None


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping]) -> None:
    """Write a CSV, whole or not at all; keys of `rows` that are no column are left out."""
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        write_rows(stream, [columns, *([row.get(name, "") for name in columns] for row in rows)])


def read_lines(path: Path, what: str) -> list[tuple[int, str]]:
    """Read the lines of a text file that are not empty, each with its number from 1.

    FileNotFoundError: no such file. ValueError: no text file of lines.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such {what}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error})") from None
    if any(map(str.strip, lines)) and (found := what_else_it_is(path)):
        raise ValueError(f"{path}: found {found}, expected the {what}")
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def read_names(path: str | os.PathLike) -> list[tuple[int, str]]:
    """Read file names, one a line, as `read_lines` does; ValueError when there is none."""
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
    """Pick the items that a text file names, one a line, in its order.

    `key_of` turns a name into a key of `items`. ValueError: a name that is listed twice or has no
    item (the message says that it `unknown`), with its line; an empty list.
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
    """Make a dataset dict of each numbered line of a list.

    `parse` returns a dict with "image_id" or raises ValueError. `errors` is the policy for such
    lines and for a second line of the same image.
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
