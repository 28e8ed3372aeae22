"""CSV that spreadsheets may open: no cell is taken for a formula."""

import csv
import re
from collections.abc import Iterable
from typing import IO, Any

# A cell that begins so is run as a formula by spreadsheets; an apostrophe before it prevents that.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def write_rows(stream: IO[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write rows to a file opened with newline=""; `plain` undoes what is done to cells."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([neutral(cell) for cell in row] for row in rows)


def neutral(cell: Any) -> Any:
    """Return a cell, a text that begins like a formula with an apostrophe before it.

    Numbers, also as text, stay numbers. Source: OWASP, CSV injection.
    """
    is_text = isinstance(cell, str) and _FORMULA.match(cell) and not _is_number(cell)
    return f"'{cell}" if is_text else cell


def plain(cell: str) -> str:
    """Return what `neutral` was given."""
    rest = cell[1:]
    return rest if cell.startswith("'") and neutral(rest) != rest else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isprintable()
