"""Folders of slices and value masks -> pairs of files, with the patients in their names."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import RAISE, ErrorPolicy
from .images import IMAGE_SUFFIXES
from .list_files import pick_named
from .walk import walk

Pair = tuple[Path, Path, Mapping[str, str]]  # image, mask, further keys of the image's record
_FLATTENED = re.compile(r"(\d+)_\d+")


def pair_files(images: Path, masks: Path, errors: ErrorPolicy = RAISE) -> list[Pair]:
    """Match images and masks of two folder trees by relative path without extension.

    The first folder of a nested path is the image's "patient". FileNotFoundError: a folder that is
    missing or empty, or a file without its partner. ValueError: two files that differ in their
    extension only, or no pair at all. `errors` is the policy for single files.
    """
    found_images, found_masks = files_by_stem(images, errors), files_by_stem(masks, errors)
    for have, want, what in (
        (found_images, found_masks, f"mask in {masks}"),
        (found_masks, found_images, f"image in {images}"),
    ):
        alone = [path for stem, path in have.items() if stem not in want]
        extent = (
            f"; {len(alone)} of {len(have)} files lack theirs (matched by relative path without "
            "extension)"
        )
        for path in alone:
            text = f"{path}: no {what}{'' if errors.collects else extent}"
            errors.handle(FileNotFoundError(text))
    pairs: list[Pair] = [
        (path, found_masks[stem], {"patient": stem.parts[0]} if len(stem.parts) > 1 else {})
        for stem, path in found_images.items()
        if stem in found_masks
    ]
    if not pairs:
        raise ValueError(f"{images}: no image has a mask of the same relative path in {masks}")
    return pairs


def with_flattened_patients(pairs: Sequence[Pair]) -> list[Pair]:
    """Read the patient from flat names {patient}_{slice}, as in CNCB's flattened layout.

    Pairs that have a patient already, or a name of another form, stay as they are.
    """
    return [
        (image, mask, {**extra, "patient": match[1]})
        if "patient" not in extra and (match := _FLATTENED.fullmatch(image.stem))
        else (image, mask, extra)
        for image, mask, extra in pairs
    ]


def listed_pairs(pairs: Sequence[Pair], names: str | os.PathLike) -> list[Pair]:
    """Pick the pairs that a text file names, such as the published {patient}_{slice}.jpg.

    Pairs may be nested ({patient}/{slice}) or flat. Order and errors are those of `pick_named`.
    """
    by_name = {pair[0].stem: pair for pair in pairs}
    by_name |= {f"{pair[0].parent.name}_{pair[0].stem}": pair for pair in pairs}
    unknown = "has no image and mask; expected names {patient}_{slice}.jpg of slices in the tree"
    return pick_named(names, by_name, lambda name: Path(name).stem, unknown)


def files_by_stem(folder: Path, errors: ErrorPolicy = RAISE) -> dict[Path, Path]:
    """Find the images of a folder tree, by relative path without extension, in its order.

    FileNotFoundError: a folder that is missing or has no images. Two files of one stem are an error
    to handle.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    files: dict[Path, Path] = {}
    for path in sorted(Path(here, name) for here, names in walk(folder) for name in names):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        first = files.setdefault(path.relative_to(folder).with_suffix(""), path)
        if first is not path:
            text = f"{path}: {first.name} has the same name: remove one of them"
            errors.handle(ValueError(text))
    if not files:
        raise FileNotFoundError(f"{folder}: found no image files ({', '.join(IMAGE_SUFFIXES)})")
    return files
