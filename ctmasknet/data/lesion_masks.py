"""Value masks -> lesion instances -> COCO JSON with RLE masks.

Instances are the 8-connected components of each lesion class; classes are read by value, never
by the rank of the values present.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask as mask_util
from tqdm import tqdm

from .classes import MIN_LESION_AREA, MaskValues, lesion_classes
from .images import IMAGE_SUFFIXES, check_slice, read_mask, read_slice

Pair = tuple[Path, Path, Mapping[str, str]]  # image, mask, further keys of the image's record


def lesion_instances(
    mask: np.ndarray, values: MaskValues, mask_type: str, min_area: int = MIN_LESION_AREA
) -> list[dict]:
    """Lesion instances of one value mask.

    Args:
        mask: (H, W) uint8, values as described by `values`.
        values: meaning of the pixel values.
        mask_type: "both" (GGO and C), "merge" (one class) or "ggo" (C is background).
        min_area: components of at most so many pixels are background.

    Returns:
        COCO annotations without ids, by class, then in the order of their first pixel:
        category_id 1..K, bbox [x, y, width, height] and area in pixels, iscrowd 0, segmentation
        (compressed RLE, counts as str).

    Raises:
        ValueError: unknown mask type, or values in the mask that `values` does not name.
    """
    categories = values.categories(mask_type)
    unknown = sorted({int(value) for value in np.unique(mask)} - set(categories))
    if unknown:
        shown = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        meaning = ", ".join(f"{value}={name}" for value, name in sorted(values.names.items()))
        raise ValueError(
            f"found the unknown value(s) {shown}, expected 0=background, "
            f"{meaning}: choose another preset or name all values (--values)"
        )
    instances = []
    for category in range(1, len(lesion_classes(mask_type)) + 1):
        lesion = np.isin(mask, [value for value, k in categories.items() if k == category])
        instances += component_instances(lesion, category, min_area)
    return instances


def component_instances(lesion: np.ndarray, category: int, min_area: int) -> list[dict]:
    """The 8-connected components of one lesion class in one slice.

    Args:
        lesion: (H, W) bool or uint8, non-zero where the lesion is.
        category: category_id of the instances.
        min_area: components of at most so many pixels are left out.

    Returns:
        COCO annotations as of `lesion_instances`.
    """
    instances = []
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        lesion.astype(np.uint8), connectivity=8
    )
    for label in range(1, count):
        x, y, width, height, area = (int(number) for number in stats[label])
        if area <= min_area:
            continue
        rle = mask_util.encode(np.asfortranarray(labels == label, dtype=np.uint8))
        instances.append(
            {
                "category_id": category,
                "bbox": [x, y, width, height],
                "area": area,
                "iscrowd": 0,
                "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
            }
        )
    return instances


def lesion_categories(mask_type: str) -> list[dict]:
    """The COCO categories of a mask type; ids start at 1."""
    return [{"id": k, "name": name} for k, name in enumerate(lesion_classes(mask_type), start=1)]


def coco_from_pairs(
    pairs: Sequence[Pair],
    root: Path,
    values: MaskValues,
    mask_type: str,
    min_area: int = MIN_LESION_AREA,
) -> dict:
    """COCO dictionary of (image, mask, further image keys) triples; lesion-free slices stay.

    Args:
        pairs: image file, mask file, and keys to add to the image's record (patient, scan, ...).
        root: folder of the JSON to be written; "file_name" is relative to it.
        values, mask_type, min_area: as for `lesion_instances`.

    Returns:
        {"info", "images", "annotations", "categories"}; ids start at 1.

    Raises:
        FileNotFoundError, ValueError: a file that cannot be used, with its path.
    """
    images: list[dict] = []
    annotations: list[dict] = []
    for image, mask, extra in tqdm(pairs, desc=f"masks ({mask_type})", unit="slice", disable=None):
        height, width = check_slice(image)
        pixels = read_mask(mask)
        if pixels.shape != (height, width):
            raise ValueError(
                f"{mask}: found a mask of {pixels.shape[1]} x {pixels.shape[0]} pixels, expected "
                f"{width} x {height} as its image {image}"
            )
        try:
            instances = lesion_instances(pixels, values, mask_type, min_area)
        except ValueError as error:
            raise ValueError(f"{mask}: {error}") from None
        record = {"id": len(images) + 1, "file_name": _relative(image, root)}
        images.append({**record, "height": height, "width": width, **extra})
        for instance in instances:
            # From 1: COCOeval takes an annotation with id 0 for "not matched".
            ids = {"id": len(annotations) + 1, "image_id": len(images)}
            annotations.append({**ids, **instance})
    info = {"description": "CT lesions", "mask_type": mask_type, "min_area": min_area}
    return {
        "info": info,
        "images": images,
        "annotations": annotations,
        "categories": lesion_categories(mask_type),
    }


def pair_files(images: Path, masks: Path) -> list[Pair]:
    """Match images and masks of two folder trees by relative path without extension.

    The first folder of a nested path is the image's "patient".

    Raises:
        FileNotFoundError: a folder that is missing or empty, an image or a mask without the other.
        ValueError: two files that differ in their extension only.
    """
    found_images, found_masks = _files_by_stem(images), _files_by_stem(masks)
    for have, want, what in (
        (found_images, found_masks, f"mask in {masks}"),
        (found_masks, found_images, f"image in {images}"),
    ):
        alone = [path for stem, path in have.items() if stem not in want]
        if alone:
            raise FileNotFoundError(
                f"{alone[0]}: no {what}; {len(alone)} of {len(have)} files lack theirs (matched "
                "by relative path without extension)"
            )
    return [
        (path, found_masks[stem], {"patient": stem.parts[0]} if len(stem.parts) > 1 else {})
        for stem, path in found_images.items()
    ]


def coco_from_folders(
    images: Path,
    masks: Path,
    root: Path,
    values: MaskValues,
    mask_type: str,
    min_area: int = MIN_LESION_AREA,
) -> dict:
    """COCO dictionary of two folder trees: `coco_from_pairs` of `pair_files`, all files intact."""
    pairs = pair_files(images, masks)
    for image, _, _ in tqdm(pairs, desc="images", unit="slice", disable=None):
        read_slice(image)  # to its end: headers do not tell a truncated file
    return coco_from_pairs(pairs, root, values, mask_type, min_area)


def split_by_patient(coco: dict, val_fraction: float, seed: int) -> tuple[dict, dict]:
    """Split a COCO dictionary into (train, validation) without a shared patient.

    An image without a "patient" counts as a patient of its own.

    Args:
        val_fraction: share of the patients in the second part, in (0, 1); at least one in each.
        seed: same seed, same split.

    Raises:
        ValueError: a fraction outside (0, 1), or fewer than two patients.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"validation fraction {val_fraction}: expected between 0 and 1")
    patient_of = {image["id"]: image.get("patient", image["file_name"]) for image in coco["images"]}
    patients = sorted(set(patient_of.values()))
    if len(patients) < 2:
        raise ValueError(f"found {len(patients)} patient(s), expected at least 2 to split")
    random.Random(seed).shuffle(patients)
    count = min(max(round(val_fraction * len(patients)), 1), len(patients) - 1)
    chosen = set(patients[:count])

    def part(in_val: bool) -> dict:
        ids = {image for image, patient in patient_of.items() if (patient in chosen) is in_val}
        images = [image for image in coco["images"] if image["id"] in ids]
        annotations = [item for item in coco["annotations"] if item["image_id"] in ids]
        return {**coco, "images": images, "annotations": annotations}

    return part(False), part(True)


def describe_coco(coco: dict) -> str:
    """A small table: images, lesion-free images, instances and area quartiles of each class."""
    bearing = {item["image_id"] for item in coco["annotations"]}
    lines = [f"{len(coco['images'])} images, {len(coco['images']) - len(bearing)} lesion-free"]
    for category in coco["categories"]:
        areas = [
            item["area"] for item in coco["annotations"] if item["category_id"] == category["id"]
        ]
        quartiles = [f"{q:.0f}" for q in np.percentile(areas or [0], (25, 50, 75))]
        sizes = f", area quartiles {', '.join(quartiles)} px" if areas else ""
        lines.append(f"{category['name']:>8}: {len(areas):6d} instances{sizes}")
    return "\n".join(lines)


def write_coco(coco: dict, path: Path) -> None:
    """Write the JSON whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(coco), encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _relative(image: Path, root: Path) -> str:
    # Both sides without symbolic links: ".." behind a link leads elsewhere.
    here = os.path.join(os.path.realpath(image.parent), image.name)
    return Path(os.path.relpath(here, os.path.realpath(root))).as_posix()


def _files_by_stem(folder: Path) -> dict[Path, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    files: dict[Path, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        stem = path.relative_to(folder).with_suffix("")
        if stem in files:
            raise ValueError(f"{path}: {files[stem].name} has the same name: remove one of them")
        files[stem] = path
    if not files:
        raise FileNotFoundError(f"{folder}: found no image files ({', '.join(IMAGE_SUFFIXES)})")
    return files
