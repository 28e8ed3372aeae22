"""Write files whole or not at all."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | os.PathLike, durable: bool = False) -> Iterator[Path]:
    """Yield a hidden name beside `path`, which takes its place when the block has ended well.

    An existing file is replaced; the folder is made. With `durable` the disk has the file before it
    takes its place, which a loss of power then does not undo.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield partial
        if durable:
            with partial.open("rb") as stream:
                os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_files(folder: str | os.PathLike, last: str = "") -> Iterator[Path]:
    """Yield a hidden folder, whose files come to `folder` when the block has ended well.

    They replace those of their names; other files stay. `last` comes when all others are there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{os.getpid()}.partial"
    partial.mkdir()
    try:
        yield partial
        for path in sorted(partial.iterdir(), key=lambda path: path.name == last):
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_partial(folder: Path) -> None:
    """Remove what processes that are no more had begun to write in a folder."""
    for path in folder.glob(".*"):
        found = re.fullmatch(r"\.(\d+)\..+", path.name)
        if not found or _is_alive(int(found[1])):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
