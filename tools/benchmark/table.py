"""Measurements as text and as JSON."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ctmasknet.evaluation.results import write_results
from ctmasknet.provenance import machine

from .rounds import Measurement
from .settings import TORCHVISION

REPORT = "benchmark.json"
HEADER = (
    *("contender", "precision", "ms/image", "25 % - 75 %", "images/s"),
    *("times torchvision", "peak MB"),
)


def time_table(group: Sequence[Measurement]) -> str:
    """Contenders of one case, one a line; an error stands below the table.

    Args:
        group: of one case; one of them may be torchvision's, which the others are compared with.
    """
    peer = next((m for m in group if m.contender.name == TORCHVISION), None)
    text = _table([_row(m, peer) for m in group], HEADER, words=2)
    errors = [f"{m.contender.name} {m.contender.precision}: {m.error}" for m in group if m.error]
    return "\n".join([group[0].case.text, text, *errors])


def _row(measurement: Measurement, peer: Measurement | None) -> list[str]:
    low, middle, high = measurement.quartiles()
    contender, peak = measurement.contender, measurement.peak_memory_mb
    ratio = measurement.times_faster(peer) if peer else math.nan
    spread = f"{low:.1f} - {high:.1f}" if measurement.seconds else ""
    return [
        contender.name,
        contender.precision,
        _number(middle, ".1f") or ("failed" if measurement.error else ""),
        spread,
        _number(1000 / middle, ".2f"),
        _number(ratio, ".2f"),
        _number(math.nan if peak is None else peak, ".0f"),
    ]


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def stage_table(measurement: Measurement) -> str:
    """Milliseconds per image and share of each stage."""
    total = sum(measurement.stages.values())
    scale = 1000 / measurement.case.batch
    rows = [
        [name, f"{seconds * scale:.2f}", f"{seconds / total:.0%}"]
        for name, seconds in measurement.stages.items()
    ]
    title = f"{measurement.contender.name} {measurement.contender.precision}, by stage (profiled)"
    return f"{title}\n" + _table(rows, ("stage", "ms/image", "share"), words=1)


def _table(rows: list[list[str]], header: Sequence[str], words: int) -> str:
    """Align the first columns left, and numbers right in their own digits."""
    align = ["left"] * words + ["right"] * (len(header) - words)
    return tabulate(rows, header, colalign=align, disable_numparse=True)


def as_record(measurement: Measurement) -> dict[str, Any]:
    """A measurement as JSON, with every single time."""
    low, middle, high = measurement.quartiles()
    quartiles = {"q25": low, "median": middle, "q75": high}
    return {**asdict(measurement), "ms_per_image": quartiles, "images_per_second": 1000 / middle}


def write_report(folder: Path, results: Mapping[str, Any]) -> Path:
    """Write benchmark.json: machine, versions, command line and results.

    Args:
        folder: is made.
        results: numbers, text, and dictionaries and lists of them.
    """
    path = folder / REPORT
    write_results(path, results, kind="benchmark", command=shlex.join(sys.argv), machine=machine())
    return path
