"""Percentile intervals by resampling patients.

Slices of one patient resemble each other, so they are drawn together. A statistic is a function of
weights: all ones give its value, and a resample is how often each sample was drawn.

Shapes: S samples (slices, scans or patients), B sets of weights at a time, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0
FEW_PATIENTS = 10

Statistic = Callable[[np.ndarray], Mapping[str, np.ndarray]]  # weights (B, S) -> name -> (B,)
_WEIGHTS_AT_A_TIME = 2_000_000


@dataclass(frozen=True)
class Interval:
    """A value with its percentile intervals; NaN where it is undefined.

    Attributes:
        value: over all samples.
        low, high: of resampled patients.
        naive_low, naive_high: of resampled samples, as if they were independent.
        design_effect: variance over resampled patients over that of resampled samples: so many
            samples of this set are worth one independent sample.
        defined: resamples of patients in which the value is defined; the others are left out.
    """

    value: float
    low: float
    high: float
    naive_low: float
    naive_high: float
    design_effect: float
    defined: int


def group_indices(names: Sequence[str]) -> np.ndarray:
    """Return (S,) int64, from 0: the same for samples of the same name (a patient's)."""
    return np.unique(np.asarray(names, dtype=str), return_inverse=True)[1].reshape(-1)


def point_values(statistic: Statistic, count: int) -> dict[str, float]:
    """Return the values of a statistic where each of `count` samples counts once."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return {name: float(x[0]) for name, x in statistic(np.ones((1, count))).items()}


def intervals(
    statistic: Statistic,
    groups: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    progress: str = "",
) -> dict[str, Interval]:
    """Compute the intervals of all values of a statistic, by patients and by samples.

    Args:
        statistic: weights (B, S) float64 -> name -> (B,); NaN where a value is undefined.
        groups: (S,) patient index of each sample, 0 to P-1, each occurring.
        resamples: number of resamples R, at least 1.
        seed: same seed, same intervals.
        progress: what the progress bar says; "" shows none.

    Returns:
        Name -> interval. Resamples in which a value is undefined (a class is missing) are left
        out of its percentiles. One patient alone has no interval: NaN.

    Raises:
        ValueError: no sample, or no resample.
    """
    groups = np.asarray(groups)
    if groups.size == 0 or resamples < 1:
        raise ValueError(f"found {groups.size} samples and {resamples} resamples, expected both")
    values = point_values(statistic, groups.size)
    alone = groups.max() + 1 == groups.size  # every sample is its own patient
    total, disable = resamples * (1 if alone else 2), None if progress else True
    with tqdm(total=total, desc=progress, leave=False, disable=disable) as bar:
        by_patient = by_sample = _resampled(statistic, groups, resamples, seed, bar)
        if not alone:
            by_sample = _resampled(statistic, np.arange(groups.size), resamples, seed, bar)
    if groups.max() == 0:  # drawing the same patient again says nothing
        by_patient = dict.fromkeys(values, np.full(resamples, np.nan))
    return {
        name: _interval(value, by_patient[name], by_sample[name]) for name, value in values.items()
    }


def interval_warnings(groups: np.ndarray) -> list[str]:
    """Return the warning of a report whose intervals come from few patients, if they do."""
    count = int(np.max(groups, initial=-1)) + 1
    if count >= FEW_PATIENTS:
        return []
    return [
        f"{count} patient{'s' * (count != 1)} only: intervals from fewer than {FEW_PATIENTS} "
        "are rough, and mostly too narrow"
    ]


def difference(first: Statistic, second: Statistic) -> Statistic:
    """Return the statistic second - first of the metrics that both have.

    Resampling it draws the same patients for both: a paired comparison.
    """

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        one, other = first(weights), second(weights)
        return {name: other[name] - one[name] for name in one if name in other}

    return statistic


def resample_weights(groups: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield (B, S) float64 weights, R rows in all: how often each sample's group was drawn.

    Args:
        groups: (S,) index of each sample's group, 0 to P-1; P groups are drawn with replacement.
        resamples: number of resamples R.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    count = int(groups.max()) + 1
    at_a_time = max(1, _WEIGHTS_AT_A_TIME // groups.size)
    for start in range(0, resamples, at_a_time):
        drawn = [
            np.bincount(random.integers(count, size=count), minlength=count)
            for _ in range(min(at_a_time, resamples - start))
        ]
        yield np.array(drawn, dtype=np.float64)[:, groups]


def _resampled(
    statistic: Statistic, groups: np.ndarray, resamples: int, seed: int, bar: tqdm
) -> dict[str, np.ndarray]:
    """Name -> (R,)."""
    parts = []
    for weights in resample_weights(groups, resamples, seed):
        with np.errstate(invalid="ignore", divide="ignore"):  # a class may be missing
            parts.append(statistic(weights))
        bar.update(len(weights))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _interval(value: float, by_patient: np.ndarray, by_sample: np.ndarray) -> Interval:
    low, high = _percentiles(by_patient)
    naive_low, naive_high = _percentiles(by_sample)
    variances = [np.nanvar(x) if np.isfinite(x).any() else np.nan for x in (by_patient, by_sample)]
    effect = float(variances[0] / variances[1]) if variances[1] > 0 else float("nan")
    defined = int(np.isfinite(by_patient).sum())
    return Interval(value, low, high, naive_low, naive_high, effect, defined)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if not values.size:
        return float("nan"), float("nan")
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
