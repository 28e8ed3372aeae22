"""Confounders of the label: the data source and the position of the slice."""

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from scipy.stats.contingency import association, chi2_contingency

from ..data.covidx import parse_slice_name
from .records import Slice, Split

POSITION_BINS = 10
POSITION_NOTE = (
    "COVIDx-CT holds every slice of a normal scan, but of pneumonia and COVID-19 scans only "
    "slices with visible infection: there, position is confounded with the label."
)


class Association(TypedDict):
    """Cramér's V between the source or the position and the label.

    V is None when it cannot be computed; small numbers make it larger by chance. The p value takes
    patients or slices as independent of one another.
    """

    cramers_v: float | None  # 0 (nothing) to 1 (it tells the label)
    p_value: float | None  # of independence
    words: str  # what that means, or why there is none
    rows: list[str]  # names of the sources or position bins
    columns: list[str]  # class names
    table: list[list[int]]  # counts of patients or slices
    left_out: str  # how many are not in the table and why; "" for none


class Position(Association):
    """Cramér's V of the slice's position, and how well the position predicts the label.

    Each bin of the last split is guessed to have the first split's most frequent label.
    """

    learned_on: str  # name of the first split
    tried_on: str  # name of the last split
    accuracy: float | None  # share guessed rightly, 0 to 1; None with one split
    base_rate: float | None  # share of the label most frequent in the first split
    of_covidx: bool


def cramers_v(table: np.ndarray) -> tuple[float, float] | None:
    """Compute Cramér's V of a table of counts, and p of the uncorrected chi-squared test.

    None when fewer than two rows or columns have counts.
    """
    table = np.asarray(table)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    if min(table.shape) < 2:
        return None
    p_value = chi2_contingency(table, correction=False).pvalue
    return float(association(table, method="cramer")), float(p_value)


def source_association(splits: Sequence[Split], classes: Sequence[str]) -> Association:
    """Relate source (rows) and label (columns) over the patients of splits of the same classes.

    A patient with slices of several labels counts once for each.
    """
    patients = {
        (item.patient, item.label, item.source)
        for split in splits
        for item in split.slices
        if item.label is not None
    }
    known = sorted((source, label) for _, label, source in patients if source)
    sources = sorted({source for source, _ in known})
    counts = Counter(known)
    unknown = len(patients) - len(known)
    table = [[counts[source, label] for label in range(len(classes))] for source in sources]
    left_out = f"patients without a source, left out: {unknown:,}" if unknown else ""
    found = _association("the data source", table, sources, classes, left_out)
    if not sources:
        found["words"] = "cannot say: no source is known"
    elif len(sources) == 1:
        found["words"] = f"cannot say: one source ({sources[0]})"
    return found


def position_association(splits: Sequence[Split], classes: Sequence[str]) -> Position | None:
    """Relate slice number and label; None when no file name tells a slice number.

    Each bin of slice numbers holds about a tenth of the first split's slices.
    """
    numbered = [_numbers(split.slices) for split in splits]
    numbers, labels = (np.concatenate(arrays) for arrays in zip(*numbered, strict=True))
    if not len(numbered[0][0]):
        return None
    deciles = np.quantile(numbered[0][0], np.linspace(0, 1, POSITION_BINS + 1)[1:-1])
    edges = np.unique(np.ceil(deciles)).astype(int)
    edges = edges[edges > numbers.min()]

    def table_of(numbers: np.ndarray, labels: np.ndarray) -> np.ndarray:
        table = np.zeros((len(edges) + 1, len(classes)), int)
        np.add.at(table, (np.searchsorted(edges, numbers, side="right"), labels), 1)
        return table

    table = table_of(numbers, labels)
    unknown = sum(len(split.slices) for split in splits) - len(numbers)
    accuracy = base_rate = None
    if len(splits) > 1 and len(numbered[-1][0]):
        first, last = table_of(*numbered[0]), table_of(*numbered[-1])
        guess = first.argmax(axis=1)
        accuracy = float(last[np.arange(len(guess)), guess].sum() / last.sum())
        base_rate = float(last[:, first.sum(axis=0).argmax()].sum() / last.sum())
    left_out = f"slices without a number, left out: {unknown:,}" if unknown else ""
    return {
        **_association("slice position", table.tolist(), _bin_names(edges), classes, left_out),
        "learned_on": splits[0].name,
        "tried_on": splits[-1].name,
        "accuracy": accuracy,
        "base_rate": base_rate,
        "of_covidx": any(parse_slice_name(split.slices[0].name) for split in splits),
    }


def _association(
    what: str, table: list[list[int]], rows: list[str], columns: Sequence[str], left_out: str
) -> Association:
    value = cramers_v(np.array(table)) if table else None
    return {
        "cramers_v": value and value[0],
        "p_value": value and value[1],
        "words": _in_words(*value, what) if value else "cannot say: one class",
        "rows": rows,
        "columns": list(columns),
        "table": table,
        "left_out": left_out,
    }


def _numbers(slices: Sequence[Slice]) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) slice numbers and (N,) labels of the slices whose names tell a number."""
    pairs = [
        (number, item.label)
        for item in slices
        if item.label is not None and (number := _slice_number(item.name)) is not None
    ]
    array = np.array(pairs, int).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def _slice_number(name: str) -> int | None:
    """Read the number from a name of COVIDx-CT's forms, or from a name like {scan}/0012.png."""
    if parsed := parse_slice_name(name):
        return parsed.slice_number
    stem = Path(name).stem
    return int(stem) if stem.isdecimal() else None


def _bin_names(edges: np.ndarray) -> list[str]:
    starts = [0, *edges.tolist()]
    names = [f"{a} to {b - 1}" if a < b - 1 else f"{a}" for a, b in itertools.pairwise(starts)]
    return [*names, f"{starts[-1]} and above"]


def _in_words(value: float, p_value: float, what: str) -> str:
    if p_value >= 0.05:
        return f"{what} goes with the label no more than by chance (p = {p_value:.2f})"
    # The usual bounds for Cramér's V; at its maximum of 1, one tells the other.
    for bound, words in ((0.1, "hardly"), (0.3, "weakly"), (0.5, "moderately")):
        if value < bound:
            return f"{what} goes {words} with the label"
    return f"{what} goes strongly with the label: a model may learn it instead of the lungs"
