"""What an audit can find: leaks, which make splits useless, and problems to know of."""

from typing import NamedTuple

from ..wording import counted

LEAKS = {
    "shared_patient": "patient in two splits",
    "shared_scan": "scan in two splits",
    "identical_image": "identical image in two splits",
    "near_image": "nearly identical image in two splits",
}
PROBLEMS = {
    "unusable_line": "line of a list that cannot be used",
    "missing_image": "image that does not exist",
    "unreadable_image": "image that cannot be read",
    "constant_image": "image of one value only",
    "odd_size": "image size other than the split's usual one",
    "size_mismatch": "image of another size than its list or mask says",
    "box_outside": "body box that reaches beyond its image",
    "duplicate_image": "image that is twice in one split",
    "label_against_name": "label that contradicts the file name",
    "spelling": "classes that may be one, written in two ways",
    "absent_class": "class that other splits have",
    "unlike_classes": "lesion classes that differ between splits",
    "unpaired_file": "mask without image, or image without mask",
    "unusable_lesion": "lesion of a COCO file that cannot be used",
    "unusable_mask": "mask that cannot be read or has unknown values",
    "outside_sample": "name of the sample that is in no split",
}


class Finding(NamedTuple):
    """One leak or problem."""

    kind: str  # key of LEAKS or PROBLEMS
    splits: tuple[str, ...]  # names of the splits concerned, in the order given
    message: str  # what was found where and, if the kind does not tell it, what to do
    images: tuple[str, ...] = ()  # paths of the images to look at


def by_kind(findings: list[Finding], kinds: dict[str, str]) -> dict[str, list[Finding]]:
    """Group findings by kind, in the order of `kinds`; kinds that do not occur are left out."""
    groups = {kind: [finding for finding in findings if finding.kind == kind] for kind in kinds}
    return {kind: group for kind, group in groups.items() if group}


def verdict(findings: list[Finding]) -> str:
    """Say "no leak found", "1 leak found", "2 leaks found", ..."""
    total = sum(finding.kind in LEAKS for finding in findings)
    return f"{counted(total, 'leak') if total else 'no leak'} found"
