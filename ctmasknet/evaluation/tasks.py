"""Tasks: tables of metrics, each registered once and then known everywhere.

Evaluation while training, results.json and its intervals, the text in the terminal, the model zoo
and the comparison of two models all go through TASKS.

Shapes: S samples (slices, scans or patients).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .bootstrap import CONFIDENCE, Interval, Statistic, group_indices, intervals, point_values


@dataclass(frozen=True)
class Task:
    """One table of metrics.

    Attributes:
        name: key in results.json; "name/metric" in metrics.json and TEST.BEST_METRIC.
        kind: "lesions" or "images", as in results.json.
        statistic: samples -> `bootstrap.Statistic`. Of lesions it takes a `LesionSet` and
            `LesionReportSettings`, of images a `Level`.
        title: heads the table; {names of settings} are filled in.
        level: the samples of images: "image" (slices), "scan" or "patient".
        needs_masks: of lesions: left out where detections are boxes only.
        in_training: also computed on validation data while training.
        metrics: statistic -> metric -> value; None: the statistic has all metrics. Metrics that
            the statistic lacks have no interval.
        factor: turns values into percent for the model zoo; 1 for what is no fraction.
        columns: heading in the model zoo -> metric; "{class}" in both stands for each class.
        note: follows the table; {names of metrics} are filled in.
    """

    name: str
    kind: str
    statistic: Callable[..., Statistic]
    title: str
    level: str = "image"
    needs_masks: bool = False
    in_training: bool = True
    metrics: Callable[[Any], dict[str, float]] | None = None
    factor: float = 100
    columns: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


TASKS: dict[str, Task] = {}


def register_task(task: Task) -> Task:
    """Add a task to TASKS; reports list tasks in the order of registration.

    Raises:
        ValueError: the name is taken.
    """
    if task.name in TASKS:
        raise ValueError(f"a task called {task.name} is registered already: choose another name")
    TASKS[task.name] = task
    return task


def find_task(name: str, kind: str) -> Task:
    """Return a registered task, or for a name from elsewhere a task with nothing but that name."""
    return TASKS.get(name) or Task(name, kind, lambda *_: lambda weights: {}, name)


@dataclass(frozen=True)
class Measured:
    """A task's statistic on one data set.

    Attributes:
        task: the task.
        statistic: a function of the samples' weights.
        groups: (S,) index of each sample's patient.
    """

    task: Task
    statistic: Statistic
    groups: np.ndarray

    def metrics(self) -> dict[str, float]:
        """Return all metrics of the whole data set; NaN where one is undefined."""
        if self.task.metrics:
            return self.task.metrics(self.statistic)
        return point_values(self.statistic, len(self.groups))

    def intervals(self, resamples: int, seed: int) -> dict[str, Interval]:
        """Return the intervals of the statistic's metrics."""
        progress = f"intervals of {self.task.name}"
        return intervals(self.statistic, self.groups, resamples, seed, progress=progress)


def measure(
    kind: str, samples: Mapping[str, tuple], masks: bool = True, training: bool = False
) -> dict[str, Measured]:
    """Apply the registered tasks of a kind to a data set.

    Args:
        kind: "lesions" or "images".
        samples: level -> arguments of the tasks' statistics, the first with `patients`.
        masks: False leaves out tasks that need masks.
        training: True leaves out tasks that are not for training.

    Returns:
        Name of the task -> its statistic on these samples.
    """
    return {
        task.name: Measured(
            task,
            task.statistic(*samples[task.level]),
            group_indices(samples[task.level][0].patients),
        )
        for task in TASKS.values()
        if task.kind == kind
        and (masks or not task.needs_masks)
        and (task.in_training or not training)
    }


def describe_intervals(
    measured: Mapping[str, Measured], unit: str, resamples: int, seed: int
) -> dict[str, Any] | None:
    """Compute "intervals" of results.json; None without resamples.

    Args:
        measured: of `measure`; tasks without samples are left out.
        unit: what is drawn: "patient", or "slice" where patients are unknown.
        resamples, seed: of the bootstrap.
    """
    if not resamples:
        return None
    return {
        "method": "percentile bootstrap",
        "unit": unit,
        "confidence": CONFIDENCE,
        "resamples": resamples,
        "seed": seed,
        "values": {
            name: one.intervals(resamples, seed)
            for name, one in measured.items()
            if len(one.groups)
        },
    }
