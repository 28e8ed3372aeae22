"""Marks of finished folds, so that trainings of hours are not done again, nor mixed with others."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from ..atomic_write import atomic_write
from ..data.coco_entries import read_json

_FILE = "finished.json"


def key_of(content: Iterable[str]) -> str:
    """Return the SHA-256 of texts: all that a fold's training depends on, as far as it counts."""
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


def is_finished(folder: Path, key: str) -> bool:
    """Return whether a fold is finished; a ValueError if it is so with another key."""
    path = folder / _FILE
    if not path.is_file():
        return False
    found = read_json(path, "a finished fold")
    if not isinstance(found, dict) or found.get("key") != key:
        raise ValueError(
            f"{folder}: finished with other settings or data: remove it, or name another output "
            "folder"
        )
    return True


def mark_finished(folder: Path, key: str, seconds: float = 0.0) -> None:
    """Mark a fold as finished after so many seconds of training."""
    with atomic_write(folder / _FILE) as partial:
        partial.write_text(json.dumps({"key": key, "seconds": seconds}))


def training_seconds(folder: Path) -> float:
    """Return how long the training of a finished fold took."""
    return json.loads((folder / _FILE).read_text())["seconds"]
