"""Pairs of slices and masks -> the COCO files of the parts of a lesion data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .lesion_masks import describe_coco, write_coco
from .mask_pairs import Pair, listed_pairs
from .splits import split_coco

MakeCoco = Callable[[Sequence[Pair]], dict]


def parts_by_lists(
    pairs: Sequence[Pair],
    make_coco: MakeCoco,
    lists: Mapping[str, str | os.PathLike],
    val_fraction: float = 0.0,
    seed: int = 0,
) -> dict[str, dict]:
    """Split by published lists of names.

    Args:
        pairs: all pairs of the data set.
        make_coco: turns pairs into a COCO dictionary.
        lists: name of the part -> list of file names (see `listed_pairs`).
        val_fraction: share of the patients of "train" that become "val", 0 for none.
        seed: of that.

    Returns:
        Name of the part -> COCO dictionary.

    Raises:
        FileNotFoundError, ValueError: a list that cannot be used, or a patient in two of them.
    """
    chosen = {part: listed_pairs(pairs, names) for part, names in lists.items()}
    part_of: dict[str, str] = {}
    for part, mine in chosen.items():
        for image, _, extra in mine:
            patient = extra.get("patient", image.name)
            if part_of.setdefault(patient, part) != part:
                raise ValueError(
                    f"{lists[part]}: patient {patient} is in the list of {part_of[patient]}, too: "
                    "a patient must be in one part only"
                )
    parts = {part: make_coco(mine) for part, mine in chosen.items()}
    if val_fraction and "val" not in parts:
        weights = {"train": 1 - val_fraction, "val": val_fraction}
        parts.update(split_coco(parts["train"], weights, seed))
    return parts


def write_parts(parts: Mapping[str, dict], output: Path) -> str:
    """Write {output stem}_{part}.json each.

    Args:
        parts: name -> COCO dictionary; a single one named "" is written to `output` itself.
        output: a .json path.

    Returns:
        What was written, for people.
    """
    lines = []
    for part, coco in parts.items():
        path = output.with_stem(f"{output.stem}_{part}") if part else output
        write_coco(coco, path)
        patients = len({image.get("patient") for image in coco["images"]} - {None})
        lines.append(f"{path}: {patients or 'unknown'} patients, {describe_coco(coco)}")
    return "\n".join(lines)
