"""One input of `ctmasknet predict` with everything that is written about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..inference.predictions import ScanPrediction, SlicePrediction
from ..volumes.volume import Volume
from .quantify import Quantities


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
