"""Lesions of each class: how many a slice has, and how large they are."""

from typing import Any

import numpy as np

from .records import Split


def lesion_counts(split: Split) -> list[dict[str, Any]]:
    """Count the lesions of each class and of all together; slices of unusable masks do not count.

    A row's "label" is a class name or "all". "area_share" is [min, 25 %, 50 %, 75 %, max] of the
    area as a share of the image, 0 to 1; None where there is no lesion.
    """
    rows = []
    for label in (*range(len(split.classes)), None):
        per_slice = instances_per_slice(split, label)
        shares = area_shares(split, label)
        row = {
            "split": split.name,
            "label": "all" if label is None else split.classes[label],
            "slices": len(per_slice),
            "lesion_free": per_slice.count(0),
            "lesions": sum(per_slice),
            "most_in_a_slice": max(per_slice, default=0),
            "area_share": np.percentile(shares, (0, 25, 50, 75, 100)).tolist() if shares else None,
        }
        rows.append(row)
    return rows if len(split.classes) > 1 else rows[:1]


def instances_per_slice(split: Split, label: int | None = None) -> list[int]:
    """Count the lesions of one class (None: of all) in each slice whose mask is known."""
    return [
        sum(label in (None, lesion.label) for lesion in item.lesions)
        for item in split.slices
        if item.lesions is not None
    ]


def area_shares(split: Split, label: int | None = None) -> list[float]:
    """Return each lesion's area as a share of its image, 0 to 1, of one class (None: of all)."""
    return [
        lesion.area / (item.size[0] * item.size[1])
        for item in split.slices
        if item.lesions and item.size
        for lesion in item.lesions
        if label in (None, lesion.label)
    ]
