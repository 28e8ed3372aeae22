"""Lists of file names, one a line, such as those that were published with the papers."""

from __future__ import annotations

import os
from pathlib import Path


def read_text(path: Path) -> str:
    """A text file's content; ValueError when it is none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error})") from None


def read_names(path: str | os.PathLike) -> dict[int, str]:
    """Read a list of names; empty lines do not count.

    Returns:
        Line number, from 1 -> name.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: it is empty, or no text.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list of slices (a file name a line)")
    lines = enumerate(read_text(path).splitlines(), start=1)
    names = {number: line.strip() for number, line in lines if line.strip()}
    if not names:
        raise ValueError(f"{path}: found no name, expected a file name a line")
    return names
