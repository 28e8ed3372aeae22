"""The numbers of a report, as rows of text.

Shapes: Z slices, A names of lesions in the case's quantities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..inference.predictions import Instance
from ..quantification.case import Case
from ..quantification.quantify import shares, slice_shares
from ..wording import percent

MOST_LESIONS = 100  # rows; all of them are in lesions.csv
NONE = "–"


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        columns: titles.
        rows: as many texts each.
        named: so many columns from the left are names, the others numbers.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    named: int


def area_text(px: float | None, mm2: float | None) -> str:
    """An area in mm2, or in pixels where those have no known size; "–" where it is unknown."""
    if mm2 is not None and math.isfinite(mm2):
        return f"{mm2:,.0f} mm²"
    return NONE if px is None else f"{px:,.0f} px"


def volume_text(ml: float) -> str:
    """A volume in ml with the decimals that its size deserves."""
    if 0 < ml < 0.01:
        return "<0.01 ml"
    decimals = 0 if ml >= 100 or ml == 0 else 1 if ml >= 10 else 2
    return f"{ml:,.{decimals}f} ml"


def slice_names(case: Case) -> tuple[str, ...]:
    """What to call each slice: its number in a scan, else its file's name or path."""
    numbers = [f"slice {index}" for index in range(len(case.slices))]
    if case.scan is not None:
        return tuple(numbers)
    files = [s.source or number for s, number in zip(case.slices, numbers, strict=True)]
    short = [Path(file).name for file in files]
    return tuple(short if len(set(short)) == len(short) else files)


def position(case: Case, index: int) -> float | None:
    """Of a slice, in mm from the lowest; None if unknown."""
    known = case.scan is not None and case.scan.spacing is not None
    return index * case.scan.spacing[0] if known else None  # type: ignore[union-attr,index]


def lung_shares(case: Case) -> np.ndarray | None:
    """(A,) share of the lung that is lesion; None without a lung."""
    if case.quantities.lung_lesion_px is None:
        return None
    found = shares(case.quantities)
    return found if np.isfinite(found).all() else None


def total_area(case: Case, column: int) -> tuple[float | None, float | None]:
    """Pixels and mm2 of the lesions of a name on all slices, each None if unknown."""
    areas = case.quantities.areas_px
    if areas is None:
        return None, None
    mm2 = float((areas[:, column] * case.quantities.pixel_mm2).sum())
    return float(areas[:, column].sum()), mm2 if math.isfinite(mm2) else None


def lesion_sums(case: Case) -> Table:
    """A row for each name of lesions: counts, volume or area, share of the lung."""
    quantities, of_lung = case.quantities, lung_shares(case)
    what = "outlines on slices" if case.slices[0].has_masks else "boxes on slices"
    columns = {"lesion": list(quantities.names)}
    if quantities.lesions is not None:
        columns["lesions in 3-D"] = [f"{count:,}" for count in quantities.lesions]
    columns[what] = [f"{count:,}" for count in quantities.instances.sum(axis=0)]
    columns["slices with any"] = [f"{count:,}" for count in (quantities.instances > 0).sum(axis=0)]
    if quantities.volumes_ml is not None:
        columns["volume"] = [volume_text(ml) for ml in quantities.volumes_ml]
    elif quantities.areas_px is not None:
        places = range(len(quantities.names))
        columns["area, all slices"] = [area_text(*total_area(case, i)) for i in places]
    if of_lung is not None:
        columns["share of the lung"] = [percent(share) for share in of_lung]
    return Table(tuple(columns), tuple(zip(*columns.values(), strict=True)), named=1)


def loose_slices(case: Case) -> Table:
    """A row for each slice that is taken by itself."""
    quantities = case.quantities
    columns = {"file": list(slice_names(case))}
    found = [s.classification for s in case.slices if s.classification is not None]
    if found:
        columns["class"] = [answer.image_class for answer in found]
        for index, name in enumerate(found[0].class_names):
            columns[name] = [percent(float(answer.probabilities[index])) for answer in found]
    what = "lesions" if case.slices[0].has_masks else "boxes"
    columns[what] = [f"{count:,}" for count in quantities.instances[:, -1]]
    if quantities.areas_px is not None:
        for name, areas in zip(quantities.names, quantities.areas_px.T, strict=True):
            pairs = zip(areas, areas * quantities.pixel_mm2, strict=True)
            columns[f"{name}: area"] = [area_text(px, mm2) for px, mm2 in pairs]
    if quantities.lung_lesion_px is not None:
        of_lung = slice_shares(quantities)[:, -1]
        columns["share of the lung"] = [percent(share).replace("-", NONE) for share in of_lung]
    named = 2 if found else 1
    return Table(tuple(columns), tuple(zip(*columns.values(), strict=True)), named)


def lesions(case: Case) -> Table:
    """A row for each of the largest lesions, the largest first."""
    names = slice_names(case)
    found = [(names[i], lesion) for i, s in enumerate(case.slices) for lesion in s.instances]
    found.sort(key=lambda pair: _size(pair[1]), reverse=True)
    rows: list[tuple[str, ...]] = []
    for name, lesion in found[:MOST_LESIONS]:
        x0, y0, x1, y1 = lesion.box
        box = f"{x0:.0f}, {y0:.0f} to {x1:.0f}, {y1:.0f}"
        rows.append((name, lesion.lesion_class, f"{lesion.score:.2f}", box))
    columns: tuple[str, ...] = ("slice", "class", "score", "box: x, y to x, y in px")
    if case.slices[0].has_masks:
        columns = (*columns, "area")
        areas = [area_text(lesion.area_px, lesion.area_mm2) for _, lesion in found]
        rows = [(*row, area) for row, area in zip(rows, areas, strict=False)]
    return Table(columns, tuple(rows), named=2)


def _size(lesion: Instance) -> tuple[float, float]:
    """Area, or without a mask that of the box; in pixels, as slices differ in what is known."""
    x0, y0, x1, y1 = lesion.box
    area = (x1 - x0) * (y1 - y0) if lesion.area_px is None else lesion.area_px
    return area, lesion.score
