"""Which slices of a DICOM scan can be used, and whether they lie evenly behind each other.

Messages name the folder `source`. What cannot be used, or is unusual, goes to `errors`.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path

import numpy as np

from ..errors import ErrorPolicy
from ..wording import counted
from .dicom_acquisitions import (
    SAME_PLACE,
    Group,
    are_interleaved,
    describe_group,
    group_series,
    is_uneven,
    numbers_repeat,
    uneven_steps,
    usual_step,
)
from .dicom_headers import SliceHeader

# What all slices of a scan share, as messages call it.
_ALIKE: dict[str, Callable[[SliceHeader], Hashable]] = {
    "size (rows, columns)": lambda header: header.shape,
    "pixel spacing (mm)": lambda header: tuple(round(value, 4) for value in header.spacing),
    "orientation (cosines)": lambda header: tuple(
        float(value) for value in np.round(header.axes[:, :2].T.ravel(), 2) + 0.0
    ),
}
_MAX_TILT = 0.5  # degrees
_GAP = 1.5  # a step of more than so many median ones misses a slice
_FEW = 0.05  # the share of slices that may lie where others do; more are another scan


def choose_series(headers: Group, source: Path, series: str | None, errors: ErrorPolicy) -> Group:
    """Return the headers of the scan whose series is asked for, or else of the largest.

    What lies beside slices (scouts, reports, captures) is left out, with a note. Several scans
    without a choice, and files without a series, are errors to handle; a series that does not exist
    is a ValueError.
    """
    if slices := [header for header in headers if not header.aside]:
        for text in describe_asides(headers):
            errors.note(f"{text}: left out")
        headers = slices
    groups = group_series(headers)
    listing = "; ".join(describe_group(group, groups) for group in groups)
    if series is not None:
        groups = [group for group in groups if any(series == x.series for x in group)]
        if not groups:
            raise ValueError(f"{source}: no series {series}, found {listing or 'none'}")
    elif len(groups) > 1 and not groups[-1][0].series:
        for header in groups.pop():
            errors.handle(
                f"{header.path}: found no SeriesInstanceUID, unlike in the other files: "
                "damaged, or no image; copy it again or remove it"
            )
    if not groups:
        return []
    largest = max(groups, key=lambda group: (sum(not x.problem for x in group), len(group)))
    if len(groups) > 1:
        if len({group[0].series for group in groups}) == len(groups):
            what, advice = "series", "choose one by its SeriesInstanceUID (--series)"
        else:
            what, advice = "scans", "put the files of one into a folder of its own"
        listing = "; ".join(describe_group(group, groups) for group in groups)
        error = ValueError(
            f"{source}: found {len(groups)} {what}, expected one: {listing}; {advice}"
        )
        errors.handle(error, f"took {describe_group(largest, groups)}")
    return largest


def describe_asides(headers: Iterable[SliceHeader]) -> list[str]:
    """Describe files beside the slices: scouts, reports, segmentations, captures of screens."""
    alike: Counter[tuple[Path, str, str]] = Counter()
    for header in headers:
        if not header.aside:
            continue
        modality = header.identifiers.get("Modality", "no modality")
        kind = modality if header.aside.startswith("of ") else f"{modality} {header.aside}"
        description = header.identifiers.get("SeriesDescription", "no description")
        alike[header.path.parent, description, kind] += 1
    return [
        f"{folder}: {counted(number, 'file')} of the series '{description}' ({kind}): no axial CT "
        "slices"
        for (folder, description, kind), number in alike.items()
    ]


def usable_slices(headers: Iterable[SliceHeader], source: Path, errors: ErrorPolicy) -> Group:
    """Return the slices of a scan from the lowest up, each height once.

    Files that are unusable, differ from the majority, or lie where another does are left out. If
    many images lie where others do, it is unknown which belong together: a ValueError.
    """
    kept = []
    for header in headers:
        if header.problem:
            errors.handle(f"{header.path}: {header.problem}")
        else:
            kept.append(header)
    for what, key in _ALIKE.items():
        kept = _keep_majority(kept, what, key, errors)
    kept.sort(key=lambda header: header.height)
    _require_positions(kept, source)
    return _without_duplicates(kept, errors)


def _require_positions(headers: Group, source: Path) -> None:
    if not (found := _lost_positions(headers)):
        return
    tags = ("AcquisitionNumber", "AcquisitionTime", "InstanceNumber")
    raise ValueError(
        f"{source}: found {len(headers)} slices {found}, and neither {', '.join(tags)} nor the "
        "reconstruction tells acquisitions apart: positions were lost, or several scans are mixed; "
        "export the series again, or put the files of each scan into a folder of its own"
    )


def _lost_positions(headers: Group) -> str:
    """Say what is wrong with the positions of slices, in order; "" if they are of one scan."""
    pairs = [
        (first, then)
        for first, then in itertools.pairwise(headers)
        if then.height - first.height < SAME_PLACE
    ]
    others = [(x, y) for x, y in pairs if not x.instance or x.instance != y.instance]  # no copies
    places = len(headers) - len(pairs)
    if len(others) > (max(1, _FEW * len(headers)) if places > 1 else 0):
        first, then = others[0]
        return (
            f"at {places} position{'s' * (places > 1)} ({first.path.name} and {then.path.name} "
            f"both at {first.height:.2f} mm)"
        )
    again = {then.path for _, then in pairs}
    kept = [header for header in headers if header.path not in again]
    if are_interleaved(kept):
        return "in two rows of positions that lie between each other"
    if numbers_repeat(kept) and is_uneven(kept):
        return "in uneven steps, with InstanceNumbers that repeat"
    return ""


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
        if kept and header.height - kept[-1].height < SAME_PLACE:
            errors.handle(
                f"{header.path}: found a second slice at {header.height:.2f} mm, where "
                f"{kept[-1].path} already is (a copy, or another phase of the scan): keep one "
                "of the two in the folder"
            )
        else:
            kept.append(header)
    return kept


def slice_step(headers: list[SliceHeader], source: Path, errors: ErrorPolicy) -> float:
    """Return the step from slice to slice along the normal, in mm.

    The headers are those of one series, in order. If the steps differ, which is an error to handle,
    it is the median one; of a single slice it is the thickness.
    """
    heights = np.array([header.height for header in headers])
    if len(heights) == 1:
        return headers[0].thickness or 1.0
    steps = np.diff(heights)
    median, uneven = usual_step(steps), uneven_steps(steps)
    gaps = np.flatnonzero(steps > _GAP * median)
    if len(gaps):
        errors.handle(f"{source}: {_describe_gaps(headers, steps, gaps, median)}")
    elif uneven.any():
        errors.handle(
            f"{source}: found uneven steps of {steps.min():.4g} to {steps.max():.4g} mm "
            f"between slices, expected them even ({median:.4g} mm): choose one reconstruction, "
            "or resample it"
        )
    return median if uneven.any() else float(steps.mean())


def _describe_gaps(
    headers: list[SliceHeader], steps: np.ndarray, gaps: np.ndarray, step: float
) -> str:
    lost = sum(round(steps[gap] / step) - 1 for gap in gaps)
    places = [
        f"{below.height:.1f} and {above.height:.1f} mm ({below.path.name}, {above.path.name})"
        for below, above in (headers[gap : gap + 2] for gap in gaps[:3])
    ]
    return (
        f"about {lost} slice{' is' if lost == 1 else 's are'} missing, between "
        f"{', '.join(places)}{', ...' if len(gaps) > 3 else ''}; expected steps of {step:.4g} mm: "
        "copy the series again, completely"
    )


def tilt_problem(headers: list[SliceHeader]) -> str:
    """Return why the slices are not straight above each other; "" if they are."""
    tilts = [header.tilt for header in headers if abs(header.tilt) > _MAX_TILT]
    advice = "correct the tilt (e.g. with dcm2niix), or use a series without it"
    if tilts:
        return f"found a gantry tilt of {tilts[0]:g} degrees, expected none: {advice}"
    offsets = np.array([header.position - headers[0].position for header in headers])
    normal = headers[0].axes[:, 2]
    along = offsets @ normal
    aside = np.linalg.norm(offsets - along[:, np.newaxis] * normal, axis=1)
    worst = int(aside.argmax())
    # Positions are often rounded to 0.1 mm.
    if aside[worst] > 0.2 + np.tan(np.radians(_MAX_TILT)) * np.ptp(along):
        return (
            f"found slices shifted by up to {aside[worst]:.1f} mm over {np.ptp(along):.1f} mm "
            f"({headers[worst].path.name}), as by a gantry tilt; expected them straight above each "
            f"other: {advice}"
        )
    return ""
