"""The checkpoints of a run: written whole or not at all, and the one from which it goes on."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer

from ..atomic_write import atomic_write
from ..checkpoint import read_checkpoint

BEST_WEIGHTS = "model_best.pth"
FINAL = "model_final.pth"
LAST = "last_checkpoint"  # Detectron2's: the name of the newest
RECORD = "checkpoints.json"  # those to go on from: file -> its iteration, the newest last

logger = logging.getLogger(__name__)


class RunCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, whose files are whole and which never goes on from the best.

    The next best one overwrites that, and it may be much older than the last.
    """

    def save(self, name: str, **kwargs: Any) -> None:
        """Write <name>.pth; an OSError if it cannot be written, which leaves the old one."""
        if not self.save_dir or not self.save_to_disk:
            return
        parts = {key: part.state_dict() for key, part in self.checkpointables.items()}
        path = Path(self.save_dir) / f"{name}.pth"
        logger.info("Saving checkpoint to %s", path)
        _write(path, {"model": self.model.state_dict(), **parts, **kwargs})
        if path.name != BEST_WEIGHTS and "iteration" in kwargs:
            _add_to_record(path, kwargs["iteration"])

    def copy_to_final(self, path: Path) -> None:
        """Make FINAL of the checkpoint of the last step, between which and FINAL a run ended."""
        final = path.with_name(FINAL)
        if not self.save_to_disk or path == final:
            return
        with atomic_write(final, durable=True) as partial:
            shutil.copyfile(path, partial)
        _add_to_record(final, _read_record(path.parent).get(path.name, 0))


def _write(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path, durable=True) as partial:
        try:
            torch.save(content, partial)
        except RuntimeError as error:  # so PyTorch says that the disk is full
            free = shutil.disk_usage(path.parent).free / 1e6
            raise OSError(
                f"{path}: could not be written, with {free:.0f} MB left on the disk "
                f"({str(error).splitlines()[0]})"
            ) from None


def find_resume_point(folder: str | Path) -> tuple[Path | None, list[str]]:
    """Return the newest checkpoint of a run that can be read, and what is wrong with newer ones.

    None if the run has written none yet. Raises a ValueError if none of several can be read.
    """
    folder = Path(folder)
    names = [*reversed(_read_record(folder))]
    if not names and (folder / LAST).is_file():  # of an older version
        names = [(folder / LAST).read_text().strip()]
    problems: list[str] = []
    for name in names:
        try:
            read_checkpoint(folder / name)
        except (FileNotFoundError, ValueError) as error:
            problems.append(str(error))
        else:
            return folder / name, problems
    if problems:
        raise ValueError(f"no checkpoint of {folder} can be read: {'; '.join(problems)}")
    return None, []


def forget_checkpoints(folder: str | Path, since: int = 0) -> Path | None:
    """Never go on from checkpoints of the iteration `since` and later; their files stay.

    Returns the last one of those before, if there is any.
    """
    folder = Path(folder)
    known = {name: i for name, i in _read_record(folder).items() if i < since}
    _write_record(folder, known)
    return folder / next(reversed(known)) if known else None


def _read_record(folder: Path) -> dict[str, int]:
    path = folder / RECORD
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a record of checkpoints ({error}); remove it") from None


def _add_to_record(path: Path, iteration: int) -> None:
    known = _read_record(path.parent)
    known.pop(path.name, None)
    _write_record(path.parent, {**known, path.name: iteration})


def _write_record(folder: Path, known: dict[str, int]) -> None:
    if not known:
        for name in (LAST, RECORD):
            (folder / name).unlink(missing_ok=True)
        return
    with atomic_write(folder / RECORD, durable=True) as partial:
        partial.write_text(json.dumps(known, indent=1) + "\n")
    with atomic_write(folder / LAST, durable=True) as partial:
        partial.write_text(next(reversed(known)))
