"""Which DICOM files make one scan: its series, without copies and without what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path

import numpy as np

from ..errors import ErrorPolicy
from .dicom_headers import SliceHeader

# What all slices of a scan share, as messages call it.
_ALIKE: dict[str, Callable[[SliceHeader], Hashable]] = {
    "patient": lambda header: header.identifiers.get("PatientID", ""),
    "size (rows, columns)": lambda header: header.shape,
    "pixel spacing (mm)": lambda header: tuple(round(value, 4) for value in header.spacing),
    "orientation (cosines)": lambda header: tuple(
        float(value) for value in np.round(header.axes[:, :2].T.ravel(), 2) + 0.0
    ),
}


def group_series(headers: Iterable[SliceHeader]) -> dict[str, list[SliceHeader]]:
    """Group headers by SeriesInstanceUID, in the order given; those without one are under ""."""
    groups: dict[str, list[SliceHeader]] = {}
    for header in headers:
        groups.setdefault(header.series, []).append(header)
    return groups


def choose_series(
    headers: list[SliceHeader], source: Path, series: str | None, errors: ErrorPolicy
) -> list[SliceHeader]:
    """Choose the files of one series.

    Args:
        headers: of all files.
        source: the folder to name in messages.
        series: SeriesInstanceUID to take; needed if there are several.
        errors: of several series, of which the largest is taken, and of files without one.

    Raises:
        ValueError: there is no such series.
    """
    groups = group_series(headers)
    listing = "; ".join(_describe(uid, group) for uid, group in groups.items())
    if series is not None:
        if series not in groups:
            raise ValueError(f"{source}: no series {series}, found {listing or 'none'}")
        return groups[series]
    if len(groups) > 1:
        for header in groups.pop("", []):
            errors.handle(
                f"{header.path}: found no SeriesInstanceUID, unlike in the other files: "
                "damaged, or no image; copy it again or remove it"
            )
    if not groups:
        return []
    largest = max(groups, key=lambda uid: _sizes(groups[uid]))
    if len(groups) > 1:
        error = ValueError(
            f"{source}: found {len(groups)} series, expected one: {listing}; choose one by its "
            "SeriesInstanceUID (--series)"
        )
        errors.handle(error, f"took {_describe(largest, groups[largest])}")
    return groups[largest]


def _sizes(group: list[SliceHeader]) -> tuple[int, int]:
    return sum(not header.problem for header in group), len(group)


def _describe(uid: str, group: list[SliceHeader]) -> str:
    first = group[0]
    kind = first.identifiers.get("Modality", "no modality")
    kind += " localiser" if first.localiser else ""
    description = first.identifiers.get("SeriesDescription", "no description")
    return f"{uid or 'no UID'} ({kind}, '{description}', {len(group)} files)"


def usable_slices(headers: Iterable[SliceHeader], errors: ErrorPolicy) -> list[SliceHeader]:
    """Sort the slices of a series by their height, each height once.

    Args:
        headers: of one series.
        errors: of files that are unusable, differ from the most, or lie where another does.
    """
    kept = []
    for header in headers:
        if header.problem:
            errors.handle(f"{header.path}: {header.problem}")
        else:
            kept.append(header)
    for what, key in _ALIKE.items():
        kept = _keep_majority(kept, what, key, errors)
    return _without_duplicates(sorted(kept, key=lambda header: header.height), errors)


def _keep_majority(
    headers: list[SliceHeader],
    what: str,
    key: Callable[[SliceHeader], Hashable],
    errors: ErrorPolicy,
) -> list[SliceHeader]:
    if not headers:
        return []
    common, count = Counter(map(key, headers)).most_common(1)[0]
    for header in headers:
        if key(header) != common:
            errors.handle(
                f"{header.path}: found the {what} {key(header)!r}, expected {common!r} as in "
                f"{count} of the series' {len(headers)} files: remove the files that differ"
            )
    return [header for header in headers if key(header) == common]


def _without_duplicates(headers: list[SliceHeader], errors: ErrorPolicy) -> list[SliceHeader]:
    kept: list[SliceHeader] = []
    for header in headers:
        if kept and header.height - kept[-1].height < 0.01:
            errors.handle(
                f"{header.path}: found a second slice at {header.height:.2f} mm, where "
                f"{kept[-1].path} already is (a copy, or another phase of the scan): keep one "
                "of the two in the folder"
            )
        else:
            kept.append(header)
    return kept
