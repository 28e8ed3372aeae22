"""Names of results: those of the inputs, each used once."""

import os
from collections.abc import Iterable
from pathlib import Path

_LONGEST = 200  # bytes, of the 255 that a name may have


def stem_of(path: Path) -> str:
    """Return the name that the user knows a file by, without suffix (.nii.gz is one).

    A link keeps its own name; "." and ".." get that of the folder.
    """
    name = Path(os.path.abspath(path)).name
    return Path(name.removesuffix(".gz")).stem


def folder_name(path: Path) -> str:
    """Return the same of a folder: what looks like a suffix belongs to it."""
    return Path(os.path.abspath(path)).name


def numbered_apart(names: Iterable[str]) -> list[str]:
    """Cut names that leave no room for a suffix, and number those that are taken."""
    taken: set[str] = set()
    apart = []
    for long in names:
        name = long.encode()[:_LONGEST].decode(errors="ignore")
        free, number = name, 2
        while free in taken:
            free, number = f"{name}_{number}", number + 1
        taken.add(free)
        apart.append(free)
    return apart
