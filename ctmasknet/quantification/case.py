"""One input of `ctmasknet predict` with everything that is written about it; its key slices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..inference.predictions import ScanPrediction, SlicePrediction, class_probabilities
from ..volumes.volume import Volume
from .lesion_measures import Lesion
from .quantify import Quantities

_MOST = 6
_PARTS = 2 * _MOST  # chosen slices lie more than this part of the scan from each other


@dataclass(frozen=True, eq=False)
class KeySlice:
    """A slice that the report shows."""

    index: int  # among the case's slices
    image: np.ndarray  # (H, W, 3) uint8 RGB, as the model saw it
    score_map: np.ndarray | None  # (H, W) float32; see `Predictor.score_map`


@dataclass(frozen=True, eq=False)
class Case:
    """A scan, or slices that are taken one by one (`scan` and `volume` are None)."""

    name: str  # of its folder in the output
    source: str  # what the user named, or what was found in it
    slices: tuple[SlicePrediction, ...]  # those of `scan` if there is one
    scan: ScanPrediction | None
    volume: Volume | None  # the scan's HU and geometry
    quantities: Quantities
    about: Mapping[str, Any]  # models, settings, versions, time and command, in plain types
    notes: tuple[str, ...] = ()  # files left out, why there is no share of the lung, ...
    problems: tuple[str, ...] = ()  # those of the notes that tell of files that cannot be used
    files: tuple[str, ...] = ()  # where slices were read from, if `source` of them is a pseudonym

    @property
    def lesions(self) -> tuple[Lesion, ...] | None:
        """Return a scan's lesions in three dimensions; None of slices and of boxes alone."""
        return self.quantities.lesions if self.scan else None

    @property
    def lesion_classes(self) -> tuple[str, ...]:
        """Return the names of the model's lesion classes."""
        return self.slices[0].lesion_classes

    @property
    def image_classes(self) -> tuple[str, ...]:
        """Return the names of the image classes; none of a lesion model."""
        found = (s.classification.class_names for s in self.slices if s.classification)
        return next(found, ())


def choose_key_slices(case: Case, most: int = _MOST) -> list[int]:
    """Choose at most `most` slices, ascending: in turn by most lesion and by the likeliest class.

    Most lesion is the largest area, or the most boxes where lesions have no masks. In a scan the
    class is the scan's; a slice within a twelfth of the scan of a chosen one, and always a
    neighbour, is passed over, so that different places are shown. Each single slice counts by its
    own class. With neither lesions nor classes the middle slice is chosen.
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
    """Return (Z,) lesion on each slice, of all classes."""
    quantities = case.quantities
    if quantities.areas_px is None:
        return quantities.instances[:, -1]
    areas = quantities.areas_px[:, -1]
    # Slices of unknown and of known pixels can be compared in pixels alone.
    known = np.isfinite(quantities.pixel_mm2).all()
    return areas * quantities.pixel_mm2 if known else areas


def _probability(case: Case) -> np.ndarray | None:
    """Return (Z,) probability of the scan's class, or of each slice's own; None without classes."""
    probabilities = class_probabilities(case.slices)
    if probabilities is None:
        return None
    probabilities = np.nan_to_num(probabilities)
    if case.scan and case.scan.classification:
        return probabilities[:, int(case.scan.classification.probabilities.argmax())]
    return probabilities.max(axis=1)
