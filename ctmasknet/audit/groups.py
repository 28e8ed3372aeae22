"""Slices, scans and patients: how many of each class, and which are in two splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import TypedDict

from .findings import Finding
from .records import Slice, Split


class Counts(TypedDict):
    """One row of the table of counts; `label` is a class name, or "all".

    Scans or patients are None where no slice of the split names one.
    """

    split: str
    label: str
    slices: int
    scans: int | None
    patients: int | None


def count_groups(split: Split) -> list[Counts]:
    """Slices, scans and patients of each image class and of the whole split.

    A lesion data set has one row only; scans and patients are those that the data set names.
    """
    rows = []
    if not split.of_lesions:
        for label, name in enumerate(split.classes):
            rows.append(_counts(split, name, [s for s in split.slices if s.label == label]))
    return [*rows, _counts(split, "all", split.slices)]


def shared_groups(splits: Sequence[Split]) -> list[Finding]:
    """Patients and scans that two splits have in common."""
    numbered = scans_are_numbered(splits)
    groups = [(split, _by_patient(split), _by_scan(split, numbered)) for split in splits]
    findings = []
    for (first, *ones), (second, *others) in combinations(groups, 2):
        for what, one, other in zip(("patient", "scan"), ones, others, strict=True):
            for key in sorted(one.keys() & other.keys()):
                text = f"{what} {key}: {len(one[key]):,} slices in {first.name}, "
                text += f"{len(other[key]):,} in {second.name}; keep it in one"
                images = one[key][0], other[key][0]
                names = first.name, second.name
                findings.append(Finding(f"shared_{what}", names, text, images))
    return findings


def scans_are_numbered(splits: Sequence[Split]) -> bool:
    """Whether scan names count within a patient ("1", "2"): some split has one twice.

    Scans are then the same only if their patients are.
    """
    for split in splits:
        patient_of: dict[str, str | None] = {}
        for item in split.slices:
            if item.scan and patient_of.setdefault(item.scan, item.patient) != item.patient:
                return True
    return False


def shared_files(splits: Sequence[Split]) -> list[Finding]:
    """Image files that two splits list, whether they can be read or not."""
    findings = []
    for first, second in combinations(splits, 2):
        paths = {item.path for item in first.slices}
        for item in second.slices:
            if item.path in paths:
                text = f"{item.path}: listed in {first.name} and in {second.name}"
                pair = item.path, item.path
                findings.append(Finding("identical_image", (first.name, second.name), text, pair))
    return findings


def _counts(split: Split, label: str, slices: Sequence[Slice]) -> Counts:
    scans = {(item.patient, item.scan) for item in slices if item.scan is not None}
    patients = {item.patient for item in slices if item.patient is not None}
    return {
        "split": split.name,
        "label": label,
        "slices": len(slices),
        "scans": len(scans) if any(item.scan is not None for item in split.slices) else None,
        "patients": len(patients) if any(item.patient for item in split.slices) else None,
    }


def _by_patient(split: Split) -> dict[str, list[str]]:
    """Patient -> paths of its images."""
    groups = defaultdict(list)
    for item in split.slices:
        if item.patient is not None:
            groups[item.patient].append(item.path)
    return groups


def _by_scan(split: Split, numbered: bool) -> dict[str, list[str]]:
    """Scan, with its patient where scans are numbered, -> paths of its images."""
    groups = defaultdict(list)
    for item in split.slices:
        if item.scan is not None:
            scan = f"{item.scan} of patient {item.patient}" if numbered else item.scan
            groups[scan].append(item.path)
    return groups
