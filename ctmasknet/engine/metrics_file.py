"""metrics.json: a line of JSON for each iteration that is told of."""

import json
import math
import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

from detectron2.utils.events import EventWriter, get_event_storage

from ..atomic_write import atomic_write

METRICS = "metrics.json"
_SMOOTHED = 20  # iterations over which noisy numbers are medians, as Detectron2's


class MetricsWriter(EventWriter):
    """Writes what Detectron2's JSONWriter does, but whole lines of valid JSON: NaN is null."""

    def __init__(self, folder: str | os.PathLike):
        """Write to a folder, which is made."""
        self._path = Path(folder) / METRICS
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._written = -1

    def write(self) -> None:
        """Append lines; an OSError if that is not possible, which leaves the file as it was."""
        lines: dict[int, dict[str, Any]] = defaultdict(dict)
        found = get_event_storage().latest_with_smoothing_hint(_SMOOTHED)
        for name, (value, iteration) in found.items():
            if iteration > self._written:
                number = float(value)
                lines[iteration][name] = number if math.isfinite(number) else None
        self._written = max((self._written, *lines))
        text = "".join(
            json.dumps({**line, "iteration": number}, sort_keys=True, allow_nan=False) + "\n"
            for number, line in lines.items()
        )
        with self._path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                written = file.write(text.encode())
                if written != len(text.encode()):
                    raise OSError(f"{self._path}: could not be written, the disk is full")
            except OSError:
                with suppress(OSError):
                    file.truncate(size)
                raise


def keep_lines_before(folder: str | os.PathLike, iteration: int) -> None:
    """Leave out half lines, and what a run writes again that goes on at an iteration (0: begins).

    That is all since then, and the metrics of the checkpoint before, which is evaluated anew.
    """
    path = Path(folder) / METRICS
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            content = json.loads(line, parse_constant=lambda name: None)  # NaN of older versions
            number = content["iteration"]
        except (KeyError, TypeError, ValueError):
            continue  # its process was killed
        if number == iteration - 1:
            content = {name: value for name, value in content.items() if "/" not in name}
        if len(content) > 1 and (number < iteration or not iteration):
            kept.append(json.dumps(content, sort_keys=True) + "\n")
    with atomic_write(path) as partial:
        partial.write_text("".join(kept), encoding="utf-8")
