"""One run at a time in an output folder."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from ..atomic_write import remove_partial

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)
_LOCK = ".lock"
# Where a run writes files, beside the folder itself.
_FOLDERS = ("datasets", "ranked_boxes", "inference/*")


@contextmanager
def run_lock(folder: str | os.PathLike) -> Iterator[None]:
    """Keep other runs out of a folder, which is made, and removed again if it stays empty.

    The system takes the lock from a process that ends, however it ends. What ended runs had begun
    to write is removed. Raises a ValueError with the process that is at work in the folder.
    """
    folder = Path(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if fcntl is None:
            yield
            return
        descriptor = _lock(folder / _LOCK)
        try:
            for place in (folder, *chain.from_iterable(map(folder.glob, _FOLDERS))):
                remove_partial(place)
            yield
        finally:
            (folder / _LOCK).unlink(missing_ok=True)
            os.close(descriptor)
    finally:
        with suppress(OSError):  # is not empty
            for path in made:
                path.rmdir()


def _lock(path: Path) -> int:
    """Return the open file of a lock that is held, also on a file system that knows no locks."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            # Of this process alone: loader workers, which may outlive it, do not inherit it.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            holder = path.read_text() if path.exists() else ""
            raise ValueError(
                f"{path.parent}: process {holder} is at work in this folder: wait for its end, or "
                "name another one"
            ) from None
        except OSError as error:
            logger.warning("%s: other runs cannot be kept out of it (%s)", path.parent, error)
            return descriptor
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            with suppress(OSError):  # on a full disk another run is not told which
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()} on {socket.gethostname()}".encode())
            return descriptor
        os.close(descriptor)  # of a file that its process has just removed
