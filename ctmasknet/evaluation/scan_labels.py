"""Results of predicted scans against slice labels of radiologists.

Shapes: Z slices of a scan.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.slice_labels import slice_key
from ..pseudonyms import Names
from .image_metrics import auroc


@dataclass(frozen=True)
class JudgedScan:
    """A scan's result.json against its labels."""

    name: str
    infected: np.ndarray  # (Z,) bool, of the labelled slices
    areas: np.ndarray  # (Z,) float64 lesion of all classes in mm2, or px where that is unknown
    volume_ml: float | None
    share_of_lung: float | None

    @property
    def auroc(self) -> float:
        """Return how well the area ranks infected slices above others; NaN without both kinds."""
        return auroc(self.infected, self.areas)


def judge_scan(result: Mapping[str, Any], labels: Mapping[str, bool]) -> JudgedScan:
    """Compare a result.json (of `ctmasknet predict`) with labels of its slices.

    Slices without a label are left out. Raises a ValueError if there is none with a label, or the
    model has no masks.
    """
    known = [x for x in result["slices"] if x["file"] and slice_key(x["file"]) in labels]
    if not known:
        raise ValueError(f"{result['name']}: none of its slices has a label")
    if any(x["areas"] is None for x in known):
        raise ValueError(f"{result['name']}: found no areas, expected a model with masks")
    found = [[*x["areas"].values()][-1] for x in known]
    areas = [x["px"] if x["mm2"] is None else x["mm2"] for x in found]
    total = [*result["quantities"]["lesions"].values()][-1]
    return JudgedScan(
        result["name"],
        np.array([labels[slice_key(x["file"])] for x in known]),
        np.array(areas, float),
        total["volume_ml"],
        total["share_of_lung"],
    )


def judge_results(
    folder: Path, labels: Mapping[str, bool], names: Names | None = None
) -> list[JudgedScan]:
    """Judge all scans with labels among the results in a folder, by name.

    `names` tell the files of results that call them by pseudonyms. Errors as `judge_scan`; a
    FileNotFoundError if there is no scan with labels.
    """
    results = [json.loads(x.read_text(encoding="utf-8")) for x in folder.glob("*/result.json")]
    if names:
        for found in (x for result in results for x in result["slices"] if x["file"]):
            found["file"] = names.reveal(found["file"])
    scans = [
        result
        for result in sorted(results, key=lambda found: found["name"])
        if result["kind"] == "scan"
        and any(x["file"] and slice_key(x["file"]) in labels for x in result["slices"])
    ]
    if not scans:
        settings = [result.get("about", {}).get("settings", {}) for result in results]
        hidden = any("identifiers" in found for found in settings)
        hint = "; files have pseudonyms: give their --names" if hidden and not names else ""
        raise FileNotFoundError(
            f"{folder}: holds no results of scans whose slices have labels{hint}"
        )
    return [judge_scan(result, labels) for result in scans]
