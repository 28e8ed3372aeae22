"""The whole audit: all checks in their order, and what could not be checked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..extras import require
from .confounding import Association, Position, position_association, source_association
from .findings import Finding
from .groups import count_groups, lesion_counts, scans_are_numbered, shared_files, shared_groups
from .images import image_findings, scan_images, size_counts
from .labels import (
    absent_classes,
    compare_lesion_classes,
    label_findings,
    sample_counts,
)
from .near_duplicates import NEAR_BITS, shared_images
from .records import Split


@dataclass
class Audit:
    """The findings of an audit; an association is None where no split has what it needs."""

    splits: list[Split]
    max_bits: int = NEAR_BITS  # threshold of near duplicates
    findings: list[Finding] = field(default_factory=list)
    counts: list[dict[str, Any]] = field(default_factory=list)  # rows of `count_groups`
    lesions: list[dict[str, Any]] = field(default_factory=list)  # rows of `lesion_counts`
    sizes: dict[str, Counter[tuple[int, int]]] = field(default_factory=dict)  # with images only
    source: Association | None = None
    position: Position | None = None
    sample: dict[str, Any] | None = None  # of `sample_counts`
    notes: list[str] = field(default_factory=list)  # what is no problem, but good to know
    not_checked: list[str] = field(default_factory=list)  # what and why, a sentence each


def run_audit(
    splits: Sequence[Split], sample: Path | None = None, max_bits: int = NEAR_BITS
) -> Audit:
    """Audit splits that are to be used together, and look for the names in the text file `sample`.

    Hashes of nearly identical images differ by at most `max_bits` of 256 bits. ValueError: two
    splits of one name, or an empty sample.
    """
    require("audit")
    twice = [name for name, n in Counter(split.name for split in splits).items() if n > 1]
    if twice:
        raise ValueError(f"two splits are called '{twice[0]}': give each its own name")
    audit = Audit(list(splits), max_bits)
    for split in splits:
        audit.findings += split.findings + label_findings(split) + absent_classes(split, splits)
        audit.counts += count_groups(split)
        if split.of_lesions:
            audit.lesions += lesion_counts(split)
    unlike, audit.notes = compare_lesion_classes(splits)
    audit.findings += unlike + shared_groups(splits) + shared_files(splits)
    if sample is not None:
        audit.sample, outside = sample_counts(sample, splits)
        audit.findings += outside
    _check_images(audit)
    _check_confounding(audit)
    _note_gaps(audit)
    return audit


def _check_images(audit: Audit) -> None:
    splits = [split for split in audit.splits if split.has_images]
    facts = scan_images(item.path for split in splits for item in split.slices)
    for split in splits:
        audit.findings += image_findings(split, facts)
        audit.sizes[split.name] = size_counts(split, facts)
        unread = sum(facts[item.path].error is not None for item in split.slices)
        if unread:
            audit.not_checked.append(
                f"{unread:,} of {len(split.slices):,} images of {split.name}: missing or unreadable"
            )
    audit.findings += shared_images(splits, facts, audit.max_bits)


def _check_confounding(audit: Audit) -> None:
    labelled = [split for split in audit.splits if not split.of_lesions]
    if not labelled:
        return
    classes = labelled[0].classes
    alike = [split for split in labelled if split.classes == classes]
    audit.not_checked += [
        f"source and slice position of {split.name}: its classes differ from {labelled[0].name}'s"
        for split in labelled
        if split not in alike
    ]
    audit.source = source_association(alike, classes)
    audit.position = position_association(alike, classes)
    if audit.position is None:
        audit.not_checked.append("slice position: the file names tell no slice number")


def _note_gaps(audit: Audit) -> None:
    notes = audit.not_checked
    if len(audit.splits) == 1:
        notes.append("leaks: one split only")
    without = [split.name for split in audit.splits if not split.has_images]
    if without:
        notes.append(
            f"images of {', '.join(without)} (readable, sizes, body boxes, identical and nearly "
            "identical ones): no --images"
        )
    for split in audit.splits:
        kinds = Counter(finding.kind for finding in split.findings)
        aside = [
            f"{kinds[kind]:,} {what}"
            for kind, what in (("unusable_line", "unusable lines"), ("unpaired_file", "unpaired"))
            if kinds[kind]
        ]
        if aside:
            notes.append(f"leaks through what was set aside in {split.name}: {', '.join(aside)}")
        unknown = {
            what: sum(getattr(item, what) is None for item in split.slices)
            for what in ("patient", "scan")
        }
        gaps = [f"{count:,} name no {what}" for what, count in unknown.items() if count]
        if gaps:
            notes.append(
                f"patients and scans of {split.name}: of {len(split.slices):,} slices, "
                + " and ".join(gaps)
            )
    if scans_are_numbered(audit.splits):
        notes.append("scans across patients: one scan name stands for several patients")
    if audit.source and not audit.source["rows"]:
        notes.append("data source: the lists name none (a column source, or --metadata)")
