"""Labels against file names, and a sample of names against the splits."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.classes import IMAGE_CLASSES
from ..data.covidx import parse_slice_name, slice_key
from ..data.list_files import read_names
from ..wording import same_but_for_spelling
from .findings import Finding
from .records import Split


def label_findings(split: Split) -> list[Finding]:
    """Find a class in two spellings, and slices whose label is not the class in their file name.

    Names of COVIDx-CT and of the author tell the class by their form, other names by a part that
    equals one of the split's class names.
    """
    findings = []
    if not split.of_lesions and (twins := same_but_for_spelling(sorted(_classes_in(split)))):
        text = f"{split.name}: {' and '.join(twins)}; write a class in one way"
        findings.append(Finding("spelling", (split.name,), text))
    for item in split.slices:
        told = _told_label(item.name, split.classes)
        if item.label is not None and told is not None and told != item.label:
            text = f"{item.path}: listed as {split.classes[item.label]}, named as "
            text += f"{split.classes[told]}; correct the list or the name"
            findings.append(Finding("label_against_name", (split.name,), text, (item.path,)))
    return findings


def absent_classes(split: Split, splits: Sequence[Split]) -> list[Finding]:
    """Find classes that another split has and this one lacks: rare classes, or typos."""
    if split.of_lesions:
        return []
    findings = []
    for other in splits:
        for name in sorted(_classes_in(other) - _classes_in(split)):
            text = f"{split.name}: no slice of {name}, which {other.name} has; is it a typo?"
            findings.append(Finding("absent_class", (other.name, split.name), text))
    return findings


def compare_lesion_classes(splits: Sequence[Split]) -> tuple[list[Finding], list[str]]:
    """Hold the lesion classes of each split against those of the first.

    Returns a finding for each split with other names, and a note for each that has the same names
    under other numbers, which is harmless: they are matched by name.
    """
    findings, notes = [], []
    of_lesions = [split for split in splits if split.of_lesions]
    for other in of_lesions[1:]:
        both = (of_lesions[0], other)
        if set(both[0].classes) != set(other.classes):
            listed = " and ".join(f"{x.name} has {', '.join(x.classes)}" for x in both)
            text = f"{listed}: name the same classes alike; INPUT.MASK_TYPE leaves out or merges"
            findings.append(Finding("unlike_classes", (both[0].name, other.name), text))
        elif _numbered(both[0]) != _numbered(other):
            listed = " and ".join(f"{_numbered(x)} in {x.name}" for x in both)
            notes.append(f"lesion classes are {listed}: harmless, as they are matched by name")
    return findings, notes


def _numbered(split: Split) -> str:
    ids = split.category_ids or range(1, len(split.classes) + 1)
    return ", ".join(f"{k} {name}" for k, name in zip(ids, split.classes, strict=True))


def sample_counts(names: Path, splits: Sequence[Split]) -> tuple[dict[str, Any], list[Finding]]:
    """Count where the names in a text file are, such as the 3,000 that the author trained on.

    Names are as in the split lists or the author's {0,1,2}_{patient}_{scan}_{slice}.png. Returns
    {"names", "classes", "patients", "in_splits", "in_none"}, classes and patients as the names
    tell them, and a finding for each name that is in no split. ValueError: an empty file.
    """
    wanted = read_names(names)
    keys = {split.name: {slice_key(item.name) for item in split.slices} for split in splits}
    found: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    patients = set()
    findings = []
    for number, name in wanted:
        homes = [split for split, members in keys.items() if slice_key(name) in members]
        found.update(homes)
        if not homes:
            text = f"{names}, line {number}: {name} is in no split list"
            findings.append(Finding("outside_sample", (), text))
        parsed = parse_slice_name(name)
        label = parsed.label if parsed else None
        classes["unknown" if label is None else IMAGE_CLASSES[label]] += 1
        patients.add(parsed.patient if parsed else name)
    counts = {
        "names": len(wanted),
        "classes": dict(classes),
        "patients": len(patients),
        "in_splits": {split.name: found[split.name] for split in splits},
        "in_none": len(findings),
    }
    return counts, findings


def _classes_in(split: Split) -> set[str]:
    return {split.classes[item.label] for item in split.slices if item.label is not None}


def _told_label(name: str, classes: Sequence[str]) -> int | None:
    """Return the label that a file name tells; None when it tells none or several."""
    parsed = parse_slice_name(name)
    if parsed and parsed.label is not None:
        told_name = IMAGE_CLASSES[parsed.label]
        return list(classes).index(told_name) if told_name in classes else None
    parts = f"-{_plain(os.path.splitext(name)[0])}-"  # with the folders
    words = [_plain(word) for word in classes]
    told = [word for word in words if f"-{word}-" in parts]
    # "non-covid" contains "covid": the longer one is meant.
    whole = [word for word in told if not any(word != w and word in w for w in told)]
    return words.index(whole[0]) if len(whole) == 1 else None


def _plain(text: str) -> str:
    """Lower the case and put single hyphens between the parts."""
    return re.sub(r"[\W_]+", "-", text.casefold()).strip("-")
