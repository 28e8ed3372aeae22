"""Named rules from slices to scans.

Shapes: S slices, G groups of them (scans), C image classes.
"""

import re
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rule:
    """From the slices of a scan to the scan: class by class the mean of the highest values."""

    name: str  # see `parse_rule`
    highest: int | None = None  # number of values that are averaged; None: all
    above: float | None = None  # values are 1 above it, else 0; None: they are the probabilities

    def __call__(self, probabilities: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Return (G, C), rows add up to 1, from (S, C) of groups (S,) in 0..G-1, each occurring.

        A group in which no class is ahead (none above a threshold, or two equally often) gets its
        mean probabilities, lest the first class win by its place.
        """
        values = probabilities if self.above is None else probabilities > self.above
        sizes = np.bincount(groups)
        starts = np.cumsum(sizes) - sizes
        taken = np.minimum(sizes, self.highest or len(groups))
        kept = np.arange(len(groups)) < np.repeat(starts + taken, sizes)
        result = np.empty((len(sizes), values.shape[1]))
        for column, out in zip(values.T.astype(float), result.T, strict=True):
            highest_first = column[np.lexsort((-column, groups))]
            out[:] = np.add.reduceat(highest_first * kept, starts) / taken
        tied = (result == result.max(axis=1, keepdims=True)).sum(axis=1) > 1
        if tied.any() and self.name != "mean":
            result[tied] = MEAN(probabilities, groups)[tied]
        return result / result.sum(axis=1, keepdims=True)


def parse_rule(text: str) -> Rule:
    """Return the rule "mean", "max", "top_<k>_mean" or "share_above_<t>"; else raise a ValueError.

    top_<k>_mean averages the k >= 1 highest probabilities; share_above_<t> is the share of slices
    whose probability is above t, 0 <= t < 1.
    """
    if text == "mean":
        return Rule(text)
    if text == "max":
        return Rule(text, highest=1)
    if (match := re.fullmatch(r"top_(\d+)_mean", text)) and int(match[1]) >= 1:
        return Rule(text, highest=int(match[1]))
    if match := re.fullmatch(r"share_above_(0(?:\.\d+)?)", text):
        return Rule(text, above=float(match[1]))
    raise ValueError(
        f"aggregation rule '{text}': expected mean, max, top_<k>_mean with k of 1 or more "
        "(top_3_mean) or share_above_<t> with 0 <= t < 1 (share_above_0.5)"
    )


MEAN = parse_rule("mean")
_OTHERS = ("max", "top_3_mean", "top_10_mean", "share_above_0.5", "share_above_0.8")
RULES = (MEAN, *map(parse_rule, _OTHERS))
