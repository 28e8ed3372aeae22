"""Walking through folders, those that are links among them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def walk(
    folder: str | os.PathLike[str], onerror: Callable[[OSError], object] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder at any depth with the names of its files; links to folders are followed.

    Each folder comes once, as two links may lead to it: not by a link if it lies in the tree
    itself. A link to a folder above would never end and is left out. `onerror` takes the errors of
    folders that cannot be listed.
    """
    root = Path(folder).resolve()
    linked: set[Path] = set()
    for here, folders, names in os.walk(os.fspath(folder), onerror=onerror, followlinks=True):
        for name in sorted(folders):
            path = Path(here, name)
            if not path.is_symlink():
                continue
            real = path.resolve()
            inside = real.is_relative_to(root) or any(map(real.is_relative_to, linked))
            if inside or root.is_relative_to(real):
                folders.remove(name)
            linked.add(real)
        yield here, names
