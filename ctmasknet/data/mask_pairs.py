"""Folders of slices and value masks -> pairs of files, with the patients their names tell."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import RAISE, ErrorPolicy
from .images import IMAGE_SUFFIXES
from .name_lists import read_names

Pair = tuple[Path, Path, Mapping[str, str]]  # image, mask, further keys of the image's record
_FLATTENED = re.compile(r"(\d+)_\d+")


def pair_files(images: Path, masks: Path, errors: ErrorPolicy = RAISE) -> list[Pair]:
    """Match images and masks of two folder trees by relative path without extension.

    The first folder of a nested path is the image's "patient".

    Args:
        images, masks: the folders.
        errors: of files without their partner.

    Raises:
        FileNotFoundError: a folder that is missing or empty, an image or a mask without the other.
        ValueError: two files that differ in their extension only, or no pair at all.
    """
    found_images, found_masks = _files_by_stem(images, errors), _files_by_stem(masks, errors)
    for have, want, what in (
        (found_images, found_masks, f"mask in {masks}"),
        (found_masks, found_images, f"image in {images}"),
    ):
        alone = [path for stem, path in have.items() if stem not in want]
        if alone and not errors.collects:
            raise FileNotFoundError(
                f"{alone[0]}: no {what}; {len(alone)} of {len(have)} files lack theirs (matched "
                "by relative path without extension)"
            )
        for path in alone:
            errors.handle(FileNotFoundError(f"{path}: no {what}"))
    pairs: list[Pair] = [
        (path, found_masks[stem], {"patient": stem.parts[0]} if len(stem.parts) > 1 else {})
        for stem, path in found_images.items()
        if stem in found_masks
    ]
    if not pairs:
        raise ValueError(f"{images}: no image has a mask of the same relative path in {masks}")
    return pairs


def with_flattened_patients(pairs: Sequence[Pair]) -> list[Pair]:
    """Read the patient from flat names {patient}_{slice}, as CNCB's flattened layout has them.

    Pairs that have a patient already, or a name of another form, stay as they are.
    """
    return [
        (image, mask, {**extra, "patient": match[1]})
        if "patient" not in extra and (match := _FLATTENED.fullmatch(image.stem))
        else (image, mask, extra)
        for image, mask, extra in pairs
    ]


def listed_pairs(pairs: Sequence[Pair], names: str | os.PathLike) -> list[Pair]:
    """Pick the slices that a list names, such as the published {patient}_{slice}.jpg.

    Args:
        pairs: of `pair_files`, nested ({patient}/{slice}) or flat.
        names: text file, a file name a line.

    Returns:
        The pairs in the order of the list.

    Raises:
        FileNotFoundError: no such list.
        ValueError: a name without a pair, or named twice, with its line; an empty list.
    """
    by_name: dict[str, Pair] = {}
    for pair in pairs:
        by_name[pair[0].stem] = pair
        by_name[f"{pair[0].parent.name}_{pair[0].stem}"] = pair
    chosen: dict[Path, Pair] = {}
    for number, name in read_names(names).items():
        found = by_name.get(Path(name).stem)
        if found is None or found[0] in chosen:
            problem = "has no image and mask" if found is None else "is named twice"
            raise ValueError(
                f"{names}, line {number}: {name} {problem}; expected names "
                "{patient}_{slice}.jpg of slices in the tree, each once"
            )
        chosen[found[0]] = found
    return list(chosen.values())


def _files_by_stem(folder: Path, errors: ErrorPolicy) -> dict[Path, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    files: dict[Path, Path] = {}
    for path in _image_files(folder):
        stem = path.relative_to(folder).with_suffix("")
        if stem in files:
            twin = f"{path}: {files[stem].name} has the same name: remove one of them"
            errors.handle(ValueError(twin))
        else:
            files[stem] = path
    if not files:
        raise FileNotFoundError(f"{folder}: found no image files ({', '.join(IMAGE_SUFFIXES)})")
    return files


def _image_files(folder: Path) -> Iterable[Path]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            yield path
