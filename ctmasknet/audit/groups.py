"""Slices, scans, patients and lesions: how many of each class, and what is in two splits."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ..data.splits import written_alike
from .findings import Finding
from .records import Slice, Split


def count_groups(split: Split) -> list[dict[str, Any]]:
    """Count slices, scans and patients of each image class and of the whole split.

    A row's "label" is a class name or "all"; a lesion data set has the latter alone. Scans or
    patients are None where no slice of the split names one.
    """
    rows = []
    if not split.of_lesions:
        for label, name in enumerate(split.classes):
            rows.append(_counts(split, name, [s for s in split.slices if s.label == label]))
    return [*rows, _counts(split, "all", split.slices)]


def lesion_counts(split: Split) -> list[dict[str, Any]]:
    """Count the lesions of each class and of all together; slices of unusable masks do not count.

    A row's "label" is a class name or "all". "area_share" is [min, 25 %, 50 %, 75 %, max] of the
    area as a share of the image, 0 to 1; None where there is no lesion.
    """
    rows = []
    for name in (*split.classes, None):
        per_slice = instances_per_slice(split, name)
        shares = area_shares(split, name)
        row = {
            "split": split.name,
            "label": "all" if name is None else name,
            "slices": len(per_slice),
            "lesion_free": per_slice.count(0),
            "lesions": sum(per_slice),
            "most_in_a_slice": max(per_slice, default=0),
            "area_share": np.percentile(shares, (0, 25, 50, 75, 100)).tolist() if shares else None,
        }
        rows.append(row)
    return rows if len(split.classes) > 1 else rows[:1]


def instances_per_slice(split: Split, lesion_class: str | None = None) -> list[int]:
    """Count the lesions of one class (None: of all) in each slice whose mask is known."""
    label = None if lesion_class is None else split.classes.index(lesion_class)
    return [
        sum(label in (None, lesion.label) for lesion in item.lesions)
        for item in split.slices
        if item.lesions is not None
    ]


def area_shares(split: Split, lesion_class: str | None = None) -> list[float]:
    """Return each lesion's area as a share of its image, 0 to 1, of one class (None: of all)."""
    label = None if lesion_class is None else split.classes.index(lesion_class)
    return [
        lesion.area / (item.size[0] * item.size[1])
        for item in split.slices
        if item.lesions and item.size
        for lesion in item.lesions
        if label in (None, lesion.label)
    ]


def shared_groups(splits: Sequence[Split]) -> list[Finding]:
    """Find patients and scans that two splits share."""
    numbered = scans_are_numbered(splits)
    findings = []
    for first, second in combinations(splits, 2):
        for what in ("patient", "scan"):
            one, other = (_paths_by(split, what, numbered) for split in (first, second))
            for key in sorted(one.keys() & other.keys()):
                (name, mine), (called, others) = one[key], other[key]
                text = f"{what} {name}: {len(mine):,} slices in {first.name}, "
                text += f"{len(others):,} in {second.name}"
                text += f" (there {called}); " if called != name else "; "
                text += "keep it in one"
                images = mine[0], others[0]
                names = first.name, second.name
                findings.append(Finding(f"shared_{what}", names, text, images))
    return findings


def scans_are_numbered(splits: Sequence[Split]) -> bool:
    """Tell whether scans are numbered within patients ("1", "2"): one name, several patients.

    Scans are then the same only if their patients are.
    """
    for split in splits:
        patient_of: dict[str, str | None] = {}
        for item in split.slices:
            if item.scan and patient_of.setdefault(item.scan, item.patient) != item.patient:
                return True
    return False


def shared_files(splits: Sequence[Split]) -> list[Finding]:
    """Find image files that two splits list, readable or not."""
    findings = []
    for first, second in combinations(splits, 2):
        paths = {item.path for item in first.slices}
        for path in (item.path for item in second.slices):
            if path in paths:
                text = f"{path}: listed in {first.name} and in {second.name}"
                names = first.name, second.name
                findings.append(Finding("identical_image", names, text, (path, path)))
    return findings


def _counts(split: Split, label: str, slices: Sequence[Slice]) -> dict[str, Any]:
    scans = {(item.patient, item.scan) for item in slices if item.scan is not None}
    patients = {item.patient for item in slices if item.patient is not None}
    return {
        "split": split.name,
        "label": label,
        "slices": len(slices),
        "scans": len(scans) if any(item.scan is not None for item in split.slices) else None,
        "patients": len(patients) if any(item.patient for item in split.slices) else None,
    }


def _paths_by(split: Split, what: str, numbered: bool) -> dict[str, tuple[str, list[str]]]:
    """Map patients or scans, as `written_alike`, to name and paths.

    Scans that are numbered are named with their patients.
    """
    groups: dict[str, tuple[str, list[str]]] = {}
    for item in split.slices:
        name = getattr(item, what)
        if name is not None:
            key = written_alike(name)
            if what == "scan" and numbered:
                name = f"{name} of patient {item.patient}"
                key += f" of patient {written_alike(str(item.patient))}"
            groups.setdefault(key, (name, []))[1].append(item.path)
    return groups
