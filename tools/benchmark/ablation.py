"""What each acceleration gains: all but one, and each one alone, in every column of a table."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from tabulate import tabulate
from tqdm import tqdm

from ctmasknet.config import require_one_of
from ctmasknet.fast import ACCELERATIONS

from .rounds import Measurement, measure
from .settings import MALLOC, OURS, Case, Contender
from .short_set import CLASSIFIER, LESION
from .worker import Worker

# Task of a column: what a step does, its config, and its batch where that is fixed.
COLUMNS: dict[str, tuple[str, str, int | None]] = {
    "classification": ("inference", CLASSIFIER, None),
    "lesion-inference": ("inference", LESION, None),
    "classifier-training": ("training", CLASSIFIER, None),
    "lesion-training": ("training", LESION, 1),
}
TOGETHER = "all together"
_WITHOUT, _ALONE, _MEMORY = TABLES = ("without", "alone", "memory")
_TITLES = {
    _WITHOUT: "Time without it, as a multiple of the time with all accelerations",
    _ALONE: "Time of stock layers, as a multiple of the time with it alone",
    _MEMORY: "Peak memory without it, less the peak with all accelerations, in MB",
}
_COUNTED = 0.6  # of a group's time; the rest goes into starting, building and the first step
_NOTEWORTHY = 1.05  # ratios from here on are bold
_FORKSERVER = partial(Worker, method="forkserver")


@dataclass
class Column:
    """Results of one task in one precision.

    Attributes:
        task: of COLUMNS.
        case, precision: what was measured.
        values: table of TABLES -> name of an acceleration -> ratio or MB; NaN if it failed.
        measurements: with every single time.
    """

    task: str
    case: Case
    precision: str
    values: dict[str, dict[str, float]] = field(default_factory=lambda: {x: {} for x in TABLES})
    measurements: list[Measurement] = field(default_factory=list)


@dataclass(frozen=True)
class _Group:
    """Contenders that take turns: the reference first, then one for each name."""

    column: Column
    table: str
    contenders: dict[str, Contender]


def acceleration_names() -> list[str]:
    """Those of a model, then the process's MALLOC."""
    return [*ACCELERATIONS, MALLOC]


def plan_ablation(
    cases: dict[str, Case], precisions: Sequence[str], names: Sequence[str], at_once: int
) -> list[_Group]:
    """Deal the contenders out to groups that take turns.

    Args:
        cases: task of COLUMNS -> its case.
        precisions: of the network.
        names: accelerations to look at.
        at_once: processes that take turns, two or more; all but one are looked at.

    Raises:
        ValueError: unknown name, or fewer than two at once.
    """
    every = acceleration_names()
    for name in names:
        require_one_of("--accelerations", name, every)
    if at_once < 2:
        raise ValueError(f"--at-once is {at_once}; it must be 2 or more")
    without = {name: tuple(x for x in every if x != name) for name in names} | {TOGETHER: ()}
    alone = {name: (name,) for name in names}
    groups = []
    for task, case in cases.items():
        for precision in precisions:
            column = Column(task, case, precision)
            for table, reference, others in (
                (_WITHOUT, tuple(every), without),
                (_ALONE, (), alone),
            ):
                for part in _parts(list(others), at_once - 1):
                    chosen = {"": reference} | {name: others[name] for name in part}
                    contenders = {x: Contender(OURS, precision, y) for x, y in chosen.items()}
                    groups.append(_Group(column, table, contenders))
    return groups


def _parts(names: list[str], most: int) -> Iterator[list[str]]:
    """As few lists as possible, of nearly equal lengths."""
    count = -(-len(names) // most)
    return (names[i::count] for i in range(count))


def measure_ablation(
    groups: Sequence[_Group],
    rounds: int | None,
    seconds: float,
    start: Callable[[Case, Contender], Worker] = _FORKSERVER,
) -> list[Column]:
    """Measure what was planned.

    A ratio is the median over the rounds, and always of one round.

    Args:
        groups: see `plan_ablation`.
        rounds: counted rounds of each group; None for as many as the time allows, 3 to 15.
        seconds: to aim at for all groups together.
        start: makes a contender's worker.

    Returns:
        The columns in the order of the plan.
    """
    end = time.perf_counter() + seconds
    for i, group in enumerate(tqdm(groups, "ablation", unit="group", disable=None)):
        share = (end - time.perf_counter()) / (len(groups) - i)
        case, contenders = group.column.case, list(group.contenders.values())
        budget = _COUNTED * share
        found = measure(case, contenders, rounds, budget, uncounted=1, start=start)
        group.column.measurements += found
        reference, *others = found
        for name, other in zip(list(group.contenders)[1:], others, strict=True):
            if group.table == _ALONE:
                group.column.values[_ALONE][name] = other.times_faster(reference)
            else:
                group.column.values[_WITHOUT][name] = reference.times_faster(other)
                group.column.values[_MEMORY][name] = _difference(other, reference)
    return list({id(group.column): group.column for group in groups}.values())


def _difference(other: Measurement, reference: Measurement) -> float:
    peaks = other.peak_memory_mb, reference.peak_memory_mb
    return math.nan if None in peaks else peaks[0] - peaks[1]  # type: ignore[operator]


def describe_ablation(columns: Sequence[Column]) -> str:
    """The three tables in Markdown, under their titles, and what failed."""
    header = ["", *(f"{c.task.replace('-', ' ')}, {c.precision}" for c in columns)]
    parts = []
    for table, title in _TITLES.items():
        rows = [
            [name.replace("_", " "), *(_cell(table, c.values[table][name]) for c in columns)]
            for name in (*acceleration_names(), TOGETHER)
            if name in columns[0].values[table]
        ]
        align = ["left"] + ["right"] * len(columns)
        text = tabulate(rows, header, "pipe", colalign=align, disable_numparse=True)
        parts.append(f"{title}:\n\n{text}")
    return "\n\n".join([*parts, *failures(columns)])


def _cell(table: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    if table == _MEMORY:
        return str(round(value))
    return f"**{value:.2f}**" if value >= _NOTEWORTHY else f"{value:.2f}"


def failures(columns: Sequence[Column]) -> list[str]:
    """Each contender that failed, in a line."""
    return [
        f"{m.case.text}, {m.contender.precision}, {m.contender.accelerations}: {m.error}"
        for column in columns
        for m in column.measurements
        if m.error
    ]
