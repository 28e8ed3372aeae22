"""The numbers of a report as tables of text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..inference.predictions import Instance
from ..quantification.case import Case
from ..quantification.lesion_measures import Lesion
from ..quantification.lobes import LOBES
from ..quantification.quantify import lobe_shares, slice_shares
from ..wording import UNKNOWN, area_text, counted, percent, volume_text
from .tables import lobe_scores, lobe_volumes_ml, lung_shares, total_area

MOST_LESIONS = 100  # rows; all of them are in lesions.csv
_BOX = "{:.0f}, {:.0f} to {:.0f}, {:.0f}"


@dataclass(frozen=True)
class Table:
    """A table of text."""

    columns: Sequence[tuple[str, Sequence[str]]]  # title and cells; classes may be called alike
    named: int  # columns from the left that are names; the others are numbers
    places: Sequence[Mapping[str, object]] = ()  # of each row, for the viewer: see `place`

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells, row by row."""
        return list(zip(*(cells for _, cells in self.columns), strict=True))


def slice_names(case: Case) -> list[str]:
    """Return each slice's number in a scan, else its file's name, or path if names repeat."""
    numbers = [f"slice {index}" for index in range(len(case.slices))]
    if case.scan is not None:
        return numbers
    files = [s.source or number for s, number in zip(case.slices, numbers, strict=True)]
    short = [Path(file).name for file in files]
    return short if len(set(short)) == len(short) else files


def lesion_sums(case: Case) -> Table:
    """Return a row for each lesion name: counts, volume or area, share of the lung."""
    quantities, of_lung = case.quantities, lung_shares(case)
    what = "outlines on slices" if case.slices[0].has_masks else "boxes on slices"
    columns = [("lesion", list(quantities.names))]
    if quantities.lesion_counts is not None:
        columns.append(("lesions in 3-D", _numbers(quantities.lesion_counts)))
    columns.append((what, _numbers(quantities.instances.sum(axis=0))))
    columns.append(("slices with any", _numbers((quantities.instances > 0).sum(axis=0))))
    if quantities.volumes_ml is not None:
        columns.append(("volume", [volume_text(ml) for ml in quantities.volumes_ml]))
    elif quantities.areas_px is not None:
        areas = [area_text(*total_area(quantities, i)) for i in range(len(quantities.names))]
        columns.append(("area, all slices", areas))
    if of_lung is not None:
        columns.append(("share of the lung", [percent(share) for share in of_lung]))
    return Table(columns, named=1)


def lobes(case: Case) -> Table | None:
    """Return a row for each lobe: volume, shares, score; None if lobes are not known."""
    scores, volumes = lobe_scores(case), lobe_volumes_ml(case)
    if scores is None:
        return None
    columns: list[tuple[str, Sequence[str]]] = [("lobe", LOBES)]
    if volumes is not None:
        columns.append(("volume", [volume_text(ml) for ml in volumes]))
    for name, of_lobes in zip(case.quantities.names, lobe_shares(case.quantities).T, strict=True):
        columns.append((f"share that is {name}", [percent(share) for share in of_lobes]))
    columns.append(("score, 0 to 5", [str(score) for score in scores]))
    return Table(columns, named=1)


def loose_slices(case: Case) -> Table:
    """Return a row for each slice taken by itself."""
    quantities = case.quantities
    columns = [("file", slice_names(case))]
    found = [s.classification for s in case.slices if s.classification is not None]
    if found:
        columns.append(("class", [answer.image_class for answer in found]))
        for index, name in enumerate(found[0].class_names):
            columns.append((name, [percent(answer.probabilities[index]) for answer in found]))
    what = "lesions" if case.slices[0].has_masks else "boxes"
    columns.append((what, _numbers(quantities.instances[:, -1])))
    if quantities.areas_px is not None:
        for name, areas in zip(quantities.names, quantities.areas_px.T, strict=True):
            mm2 = areas * quantities.pixel_mm2
            columns.append((f"{name}: area", [*map(area_text, areas, mm2)]))
    if quantities.lung_lesion_px is not None:
        of_lung = [
            percent(share).replace("-", UNKNOWN) for share in slice_shares(quantities)[:, -1]
        ]
        columns.append(("share of the lung", of_lung))
    return Table(columns, named=2 if found else 1)


def lesions(case: Case) -> Table:
    """Return a row for each of the MOST_LESIONS largest lesions, the largest first."""
    if case.lesions is not None:
        return scan_lesions(case)
    names = slice_names(case)
    found = [(index, lesion) for index, s in enumerate(case.slices) for lesion in s.instances]
    found = sorted(found, key=lambda pair: _size(pair[1]), reverse=True)[:MOST_LESIONS]
    instances = [lesion for _, lesion in found]
    columns = [
        ("slice", [names[index] for index, _ in found]),
        ("class", [x.lesion_class for x in instances]),
        ("score", [f"{x.score:.2f}" for x in instances]),
        ("box: x, y to x, y in px", [_BOX.format(*x.box) for x in instances]),
    ]
    if case.slices[0].has_masks:
        columns.append(("area", [area_text(x.area_px, x.area_mm2) for x in instances]))
    return Table(columns, named=2, places=[place(index, x.box) for index, x in found])


def place(index: int, box: Sequence[float] | None = None) -> dict[str, object]:
    """Return attributes of a row that leads to a slice of the viewer, and marks a box there."""
    marked = {} if box is None else {"data-box": ",".join(f"{x:.1f}" for x in box)}
    return {"data-slice": index, **marked}


def scan_lesions(case: Case) -> Table:
    """Do the same in three dimensions; columns of which nothing is known are left out."""
    found = (case.lesions or ())[:MOST_LESIONS]
    columns: list[tuple[str, list[str]]] = [
        ("lesion", [str(x.lesion_id) for x in found]),
        ("class", [x.lesion_class for x in found]),
        ("lies in", [x.lobe or (f"{x.side} lung" if x.side else "") for x in found]),
        ("largest on", [f"slice {x.largest_slice}" for x in found]),
        ("slices", [_from_to(x.first_slice, x.last_slice) for x in found]),
        ("volume", ["" if x.volume_ml is None else volume_text(x.volume_ml) for x in found]),
        ("longest diameter", _measured(found, "diameter_mm", "mm")),
        ("mean HU", _measured(found, "mean_hu")),
        ("lowest HU", _measured(found, "min_hu")),
        ("score", [f"{x.score:.2f}" for x in found]),
    ]
    known = [(title, cells) for title, cells in columns if any(cells) or not found]
    named = sum(title in ("lesion", "class", "lies in") for title, _ in known)
    return Table(known, named, places=[_place_of(case, x) for x in found])


def _place_of(case: Case, lesion: Lesion) -> dict[str, object]:
    """Return the place of a lesion where it is largest: the box around its outlines there."""
    index = lesion.largest_slice
    ids = (case.quantities.lesion_ids or [()])[index]
    own = zip(case.slices[index].instances, ids, strict=True)
    boxes = np.array([x.box for x, number in own if number == lesion.lesion_id])
    return place(index, [*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)])


def lesion_words(case: Case) -> str:
    """Say which lesions `lesions` lists, and where all of them are."""
    what = "outline" if case.slices[0].has_masks else "box"
    count, more = sum(len(s.instances) for s in case.slices), ""
    if case.lesions is not None:
        more = f" The {counted(count, 'outline')} on slices are in outlines.csv."
        what, count = "lesion", len(case.lesions)
    all_of_them = counted(count, what)
    if count == 1:
        return f"The only {what}; lesions.csv has it too.{more}"
    first = f"The {MOST_LESIONS} largest of" if count > MOST_LESIONS else "All"
    return f"{first} {all_of_them}, the largest first; lesions.csv has all of them.{more}"


def _from_to(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"


def _measured(lesions: Sequence[Lesion], name: str, unit: str = "") -> list[str]:
    values = [getattr(x, name) for x in lesions]
    return ["" if value is None else f"{value:.0f} {unit}".strip() for value in values]


def _numbers(values: np.ndarray) -> list[str]:
    return [f"{value:,}" for value in values]


def _size(lesion: Instance) -> tuple[float, float]:
    """Area (of the box without a mask) and score; in pixels, as mm2 may be known of some only."""
    x0, y0, x1, y1 = lesion.box
    area = (x1 - x0) * (y1 - y0) if lesion.area_px is None else lesion.area_px
    return area, lesion.score
