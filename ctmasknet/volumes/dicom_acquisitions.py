"""Which DICOM files make one scan: one acquisition of one patient.

A series is the files of one study, frame of reference, patient and SeriesInstanceUID. Some series
hold several acquisitions (passes) of the same place, and some writers give each slice a
SeriesInstanceUID of its own.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np

from .dicom_headers import SliceHeader

SAME_PLACE = 0.01  # mm between slices that lie at one position
_UNEVEN_MM, _UNEVEN = 0.101, 0.05  # steps may differ so much (positions in 0.1 mm), or by a share
_FEWEST = 3  # slices of what is taken as an acquisition, or put together from single ones
_GAP = 1.5  # a step of more than so many usual ones is none within an acquisition
_LONGEST_STEP = 2.5  # or one slice is missing there

Group = list[SliceHeader]


def group_series(headers: Iterable[SliceHeader]) -> list[Group]:
    """Group headers by scan, in the order given; those without SeriesInstanceUID are one group.

    Acquisitions that overlap are told apart by their order in time and by their tags, where these
    agree with positions: AcquisitionNumber alone changes from slice to slice in some series. What
    cannot be told apart stays together, and `usable_slices` refuses it.
    """
    series: dict[Hashable, Group] = {}
    for header in headers:
        identifiers = header.identifiers
        study, patient = identifiers.get("StudyInstanceUID"), identifiers.get("PatientID")
        key = (header.series, study, header.frame, patient) if header.series else ""
        series.setdefault(key, []).append(header)
    without = series.pop("", [])
    _join_damaged(series)
    groups = _joined_singles(list(series.values()))
    groups = [part for group in groups for part in _alike_parts(group)]
    groups = [part for group in groups for part in _acquisitions(group)]
    return groups + ([without] if without else [])


def _join_damaged(series: dict[Hashable, Group]) -> None:
    """Put files without usable header, which may lack tags, to slices of the same UID."""
    usable = {x.series: key for key, group in series.items() for x in group if not x.problem}
    for key, group in list(series.items()):
        if group[0].series in usable and all(header.problem for header in group):
            series[usable[group[0].series]].extend(series.pop(key))


def _joined_singles(groups: list[Group]) -> list[Group]:
    """Join series of one slice each that lie behind each other and differ in nothing else.

    Some writers give each slice a series, others a study or a frame of reference, too. These are
    joined only if their steps are even.
    """

    def alike(header: SliceHeader) -> Hashable:
        known = [(key, header.identifiers.get(key)) for key in ("PatientID", "SeriesDescription")]
        return (*known, header.shape, header.spacing, _normal(header))

    def in_one_frame(header: SliceHeader) -> Hashable:
        return alike(header), header.identifiers.get("StudyInstanceUID"), header.frame

    groups = _joined(groups, in_one_frame, _may_be_joined)
    return _joined(groups, alike, lambda joined: not (_clashes(joined) or is_uneven(joined)))


def _joined(
    groups: list[Group],
    key: Callable[[SliceHeader], Hashable],
    may_be_joined: Callable[[Group], bool],
) -> list[Group]:
    """Join the groups of one slice that have the same key, and may be."""
    singles = [group[0] for group in groups if len(group) == 1 and not group[0].problem]
    parts = [part for part in _by(singles, key) if len(part) >= _FEWEST and may_be_joined(part)]
    taken = {header.path for part in parts for header in part}
    return [group for group in groups if group[0].path not in taken] + parts


def _may_be_joined(headers: Group) -> bool:
    return not _clashes(headers) or len(_overlapping_parts(headers)) > 1


def _alike_parts(group: Group) -> list[Group]:
    """Return the parts of a series that differ in size, spacing or direction, or the series."""
    usable = [header for header in group if not header.problem]
    parts = _by(usable, lambda x: (x.shape, np.round(x.spacing, 4).tobytes(), _normal(x)))
    if any(len(part) < _FEWEST for part in parts) or len(parts) < 2:
        return [group]
    return [[*parts[0], *(header for header in group if header.problem)], *parts[1:]]


def _acquisitions(group: Group) -> list[Group]:
    """Return the acquisitions of a series that overlap, or the series."""
    usable = [header for header in group if not header.problem]
    if not usable:
        return [group]
    normal = Counter(map(_normal, usable)).most_common(1)[0][0]
    placed: dict[Hashable, SliceHeader] = {}  # each image once
    for header in usable:
        if _normal(header) == normal:
            placed.setdefault(header.instance or header.path, header)
    parts = _overlapping_parts(list(placed.values()))
    if len(parts) == 1:
        return [group]
    parts.sort(key=lambda part: min(header.order for header in part))
    number = {
        header.instance or header.path: index for index, part in enumerate(parts) for header in part
    }
    found: list[Group] = [[] for _ in parts]
    for header in group:  # what has no place goes with the first
        found[number.get(header.instance or header.path, 0)].append(header)
    return found


def _overlapping_parts(headers: Group) -> list[Group]:
    clash, repeat = _clashes(headers) or is_uneven(headers), numbers_repeat(headers)
    anywhere = clash and repeat
    if clash and _are_passes(runs := _runs(headers), anywhere) and all(map(_no_gap, runs)):
        return runs
    tags = dict.fromkeys(tag for header in headers for tag in header.acquisition)
    folders = _by(headers, lambda header: header.path.parent) if clash or repeat else []
    for parts in (*(_parted(headers, tag) for tag in tags), folders):
        if _are_passes(parts, anywhere) and (clash or _one_after_another(parts)):
            return parts
    return [headers]


def _parted(headers: Group, tag: str) -> list[Group]:
    return _by(headers, lambda header: header.acquisition.get(tag, ""))


def _by(headers: Group, key: Callable[[SliceHeader], Hashable]) -> list[Group]:
    parts: dict[Hashable, Group] = {}
    for header in headers:
        parts.setdefault(key(header), []).append(header)
    return list(parts.values())


def _runs(headers: Group) -> list[Group]:
    """Cut slices in the order of their acquisition where they turn back."""
    ordered = sorted(headers, key=lambda header: header.order)
    steps = np.diff([header.height for header in ordered])
    usual = usual_step(np.abs(steps))
    runs = [ordered[:1]]
    before = 0.0
    for header, step in zip(ordered[1:], steps, strict=True):
        if abs(step) >= SAME_PLACE and step * before >= 0:
            runs[-1].append(header)
            before = step
        elif abs(before) > _GAP * usual:  # the next run began one slice before, far away
            runs.append([runs[-1].pop(), header])
            before = step
        else:
            runs.append([header])
            before = 0.0
    return runs


def _are_passes(parts: Sequence[Group], anywhere: bool) -> bool:
    """Whether all are acquisitions with one slice a position, and two overlap if not `anywhere`."""
    if len(parts) < 2 or any(len(part) < _FEWEST or _clashes(part) for part in parts):
        return False
    if anywhere:
        return not any(map(numbers_repeat, parts))
    ends = sorted((min(heights), max(heights)) for heights in map(_heights, parts))
    return any(below[1] > above[0] - SAME_PLACE for below, above in itertools.pairwise(ends))


def _one_after_another(parts: Sequence[Group]) -> bool:
    """Whether each was acquired before the next began, or has numbers of its own from 1 up."""
    orders = sorted(sorted(header.order for header in part) for part in parts)
    if all(first[-1] < then[0] for first, then in itertools.pairwise(orders)):
        return True
    numbers = [[order[-1] for order in part] for part in orders]
    return numbers[0][0] >= 0 and all(sorted(set(part)) == sorted(numbers[0]) for part in numbers)


def _heights(headers: Group) -> np.ndarray:
    return np.sort([header.height for header in headers])


def _clashes(headers: Group) -> bool:
    """Whether two slices lie at one position."""
    return bool((np.diff(_heights(headers)) < SAME_PLACE).any())


def is_uneven(headers: Group) -> bool:
    """Whether steps between slices differ."""
    return len(headers) > 1 and bool(uneven_steps(np.diff(_heights(headers))).any())


def numbers_repeat(headers: Group) -> bool:
    """Whether several slices have the InstanceNumber of another one."""
    numbers = Counter(header.order[-1] for header in headers if header.order[-1] >= 0)
    return len(numbers) > 1 and numbers.total() - len(numbers) >= _FEWEST


def are_interleaved(headers: Group) -> bool:
    """Whether even rows of slices lie between each other, as those of several scans."""
    heights = _heights(headers)
    if not is_uneven(headers) or len(heights) <= _FEWEST:
        return False
    others = heights[2:] - heights[:-2]  # from every other slice to the next
    alternate = np.abs(np.diff(np.diff(heights))) > _UNEVEN_MM
    even = alternate & (np.abs(others - usual_step(others)) <= _UNEVEN_MM)
    return bool(np.convolve(even, np.ones(_FEWEST), "valid").max(initial=0) == _FEWEST)


def _no_gap(headers: Group) -> bool:
    steps = np.diff(_heights(headers))
    return bool(steps.max() <= _LONGEST_STEP * np.median(steps))


def usual_step(steps: np.ndarray) -> float:
    """Return the median of steps: one of them, not a mean of two."""
    return float(np.quantile(steps, 0.5, method="lower"))


def uneven_steps(steps: np.ndarray) -> np.ndarray:
    """Return for each step whether it differs from the usual one."""
    usual = usual_step(steps)
    return np.abs(steps - usual) > max(_UNEVEN_MM, _UNEVEN * usual)


def _normal(header: SliceHeader) -> tuple[float, ...]:
    return tuple(float(value) for value in np.round(header.axes[:, 2], 2) + 0.0)


def describe_group(group: Group, groups: Sequence[Group]) -> str:
    """Describe a scan among others, with what tells it from those of the same UID."""
    first = group[0]
    kind = first.identifiers.get("Modality", "no modality")
    kind += f" {first.aside}" if first.aside else ""
    description = first.identifiers.get("SeriesDescription", "no description")
    described = f"{kind}, '{description}', {len(group)} files"
    if sum(other[0].series == first.series for other in groups) > 1:
        patient = first.identifiers.get("PatientID", "")
        heights = _heights([header for header in group if not header.problem] or group)
        described += f", patient '{patient}', {heights[0]:.1f} to {heights[-1]:.1f} mm"
        number = {header.acquisition.get("AcquisitionNumber") for header in group}
        if len(number) == 1 and (known := number.pop()):
            described += f", acquisition {known}"
        described += f", {first.path.name} ..."
    return f"{first.series or 'no UID'} ({described})"
