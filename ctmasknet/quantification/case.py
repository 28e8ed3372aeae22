"""One input of `ctmasknet predict` with everything that is written about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..inference.predictions import ScanPrediction, SlicePrediction
from ..volumes.volume import Volume
from .quantify import Quantities

MOST = 6
_PARTS = 2 * MOST  # chosen slices lie more than this part of the scan from each other


@dataclass(frozen=True, eq=False)
class KeySlice:
    """A slice worth looking at.

    Attributes:
        index: among the case's slices.
        image: (H, W, 3) uint8 RGB, as the model saw it.
        score_map: (H, W) float32; see `Predictor.score_map`. None without a mask head.
    """

    index: int
    image: np.ndarray
    score_map: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Case:
    """A scan, or slices that are taken one by one (`scan` and `volume` are None).

    Attributes:
        name: of its folder in the output.
        source: what the user named, or what was found in it.
        slices: their predictions; those of `scan` if there is one.
        scan: the scan's prediction.
        volume: the scan's HU and geometry.
        quantities: counts, areas, volumes, shares of the lung.
        about: models, settings, versions, time and command, in plain types.
        notes: what the reader should know: files left out, why there is no lung share, ...
        problems: those of the notes that tell of files that could not be used.
    """

    name: str
    source: str
    slices: tuple[SlicePrediction, ...]
    scan: ScanPrediction | None
    volume: Volume | None
    quantities: Quantities
    about: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def choose(case: Case, most: int = MOST) -> list[int]:
    """Choose slices: in turn the one with most lesion and the one likeliest of the scan's class.

    Most lesion is the largest area, or the highest number of boxes where lesions have no masks. In
    a scan a slice near a chosen one, within a twelfth of the scan and never a neighbour, is passed
    over, so that those chosen show different places. Loose slices have no class in common: for
    them the probability of each one's own class counts.

    Args:
        case: a scan or loose slices.
        most: choose at most so many, 1 or more; a case of no more slices is shown whole.

    Returns:
        Indices of slices, ascending. With neither lesions nor classes the middle one.
    """
    count = len(case.slices)
    if count <= most:
        return list(range(count))
    apart = max(2, count // _PARTS + 1) if case.scan else 1
    rankings = [
        iter(np.argsort(-values, kind="stable").tolist()[: np.count_nonzero(values)])
        for values in (_lesion(case), _probability(case))
        if values is not None
    ]
    chosen: list[int] = []
    while rankings and len(chosen) < most:
        ranking = rankings.pop(0)
        index = next((i for i in ranking if all(abs(i - j) >= apart for j in chosen)), None)
        if index is not None:
            chosen.append(index)
            rankings.append(ranking)
    return sorted(chosen) or [count // 2]


def _lesion(case: Case) -> np.ndarray:
    """(Z,) lesion on each slice, of all classes."""
    quantities = case.quantities
    if quantities.areas_px is None:
        return quantities.instances[:, -1]
    areas = quantities.areas_px[:, -1]
    # Slices of unknown and of known pixels can be compared in pixels alone.
    known = np.isfinite(quantities.pixel_mm2).all()
    return areas * quantities.pixel_mm2 if known else areas


def _probability(case: Case) -> np.ndarray | None:
    """(Z,) probability of the scan's class, or of each slice's own; None without classes."""
    found = [s.classification.probabilities for s in case.slices if s.classification]
    if not found:
        return None
    probabilities = np.array(found)
    if case.scan and case.scan.classification:
        return probabilities[:, int(case.scan.classification.probabilities.argmax())]
    return probabilities.max(axis=1)
