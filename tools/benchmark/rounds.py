"""Contenders in turns, so that a machine that slows down slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from .settings import Case, Contender
from .worker import PEAK, STAGES, STEP, ContenderError, Worker

_FEWEST, _MOST = 3, 15  # rounds within a budget


@dataclass
class Measurement:
    """What one contender did.

    Attributes:
        case, contender: what was measured.
        seconds: of each counted step.
        peak_memory_mb: growth over the loaded libraries, by the end; None if not known.
        stages: seconds of a step by stage; empty if not asked for.
        error: why there is nothing, or no more.
    """

    case: Case
    contender: Contender
    seconds: list[float] = field(default_factory=list)
    peak_memory_mb: float | None = None
    stages: dict[str, float] = field(default_factory=dict)
    error: str = ""

    def quartiles(self) -> tuple[float, float, float]:
        """First quartile, median and third quartile, ms per image; NaN without a step."""
        if not self.seconds:
            return (float("nan"),) * 3
        low, middle, high = np.quantile(self.seconds, (0.25, 0.5, 0.75)) * 1000 / self.case.batch
        return low, middle, high

    def times_faster(self, other: Measurement) -> float:
        """How many times faster than another: the median of the ratios of each round."""
        pairs = list(zip(other.seconds, self.seconds, strict=False))
        return float(np.median([theirs / own for theirs, own in pairs])) if pairs else float("nan")


def measure(
    case: Case,
    contenders: Sequence[Contender],
    repeats: int | None = None,
    budget: float = 0.0,
    stages: bool = False,
    uncounted: int = 2,
    start: Callable[[Case, Contender], Worker] = Worker,
) -> list[Measurement]:
    """Run a case's contenders in turns; one that fails leaves the others alone.

    Args:
        case: the setting.
        contenders: in this order.
        repeats: counted rounds; None for as many as the budget allows, 3 to 15.
        budget: seconds for the counted rounds.
        stages: also profile each contender.
        uncounted: rounds before the counted ones. The first builds the networks.
        start: makes a contender's worker.

    Returns:
        One measurement per contender.
    """
    found = [Measurement(case, contender) for contender in contenders]
    workers = [start(case, contender) for contender in contenders]
    bar = tqdm(desc=case.text, unit="round", leave=False, disable=None)

    def go_round(order: str, keep: Callable[[Measurement, Any], None]) -> None:
        for worker, measurement in zip(workers, found, strict=True):
            if not measurement.error:
                try:
                    keep(measurement, worker.ask(order))
                except ContenderError as error:
                    measurement.error = str(error)

    try:
        for _ in range(uncounted):
            go_round(STEP, lambda *_: None)
        started = time.perf_counter()
        go_round(STEP, lambda m, seconds: m.seconds.append(seconds))
        if repeats is None:
            one = time.perf_counter() - started
            repeats = int(np.clip(budget / max(one, 1e-9), _FEWEST, _MOST))
        bar.reset(total=repeats)
        bar.update()
        for _ in range(repeats - 1):
            go_round(STEP, lambda m, seconds: m.seconds.append(seconds))
            bar.update()
        go_round(PEAK, lambda m, peak: setattr(m, "peak_memory_mb", peak))
        if stages:
            go_round(STAGES, lambda m, spent: setattr(m, "stages", spent))
    finally:
        bar.close()
        for worker in workers:
            worker.close()
    return found
