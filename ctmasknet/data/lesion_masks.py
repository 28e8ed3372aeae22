"""Value masks -> lesion instances -> COCO JSON with RLE masks.

Instances are the 8-connected components of each lesion class; classes are read by value, never
by the rank of the values present.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask as mask_util
from tqdm import tqdm

from ..atomic_write import atomic_write
from ..errors import RAISE, ErrorPolicy
from ..wording import counted
from .classes import MIN_LESION_AREA, MaskValues
from .images import check_slice, read_mask, read_slice
from .list_paths import reading_advice, relative_path
from .mask_pairs import Pair


def lesion_instances(
    mask: np.ndarray,
    values: MaskValues,
    mask_type: str,
    min_area: int = MIN_LESION_AREA,
    by_rank: bool = False,
) -> list[dict]:
    """Find the lesion instances of one value mask, (H, W) uint8.

    Args:
        mask_type: which classes are kept or merged, as `MaskRule.parse` reads it.
        min_area: components of at most so many pixels are background.
        by_rank: read values as `values_by_rank` does.

    Returns:
        COCO annotations without ids, by class, then in the order of their first pixel:
        category_id 1..K, bbox [x, y, width, height] and area in pixels, iscrowd 0, segmentation
        (compressed RLE, counts as str).

    Raises:
        ValueError: a mask type that `values` cannot fill, or values in the mask that it does not
            name.
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
    if by_rank:
        mask = values_by_rank(mask, values)
    instances = []
    for category in range(1, max(categories.values()) + 1):
        lesion = np.isin(mask, [value for value, k in categories.items() if k == category])
        instances += component_instances(lesion, category, min_area)
    return instances


def values_by_rank(mask: np.ndarray, values: MaskValues) -> np.ndarray:
    """Replace the values of a mask by rank, as the author's code does, to compare with its results.

    The lowest value present is background, the next one stands for the lowest value of `values`,
    and so on. With CNCB's values, consolidation in a slice of {0, 1, 3} is called GGO, and a slice
    of {0, 3} has no lesion. Takes and returns (H, W) uint8.
    """
    meanings = np.array([0, *sorted(values.names)], dtype=np.uint8)
    _, ranks = np.unique(mask, return_inverse=True)
    return meanings[ranks.reshape(mask.shape)]


def component_instances(lesion: np.ndarray, category: int, min_area: int) -> list[dict]:
    """Find the 8-connected components of more than `min_area` pixels where (H, W) `lesion` is set.

    Returns COCO annotations with this category_id, as `lesion_instances` does.
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


def lesion_categories(classes: Sequence[str]) -> list[dict]:
    """Return the COCO categories of lesion classes; ids start at 1."""
    return [{"id": k, "name": name} for k, name in enumerate(classes, start=1)]


def coco_from_pairs(
    pairs: Sequence[Pair],
    root: Path,
    values: MaskValues,
    mask_type: str,
    min_area: int = MIN_LESION_AREA,
    by_rank: bool = False,
    whole_images: bool = False,
    errors: ErrorPolicy = RAISE,
) -> dict:
    """Make a COCO dictionary of slices and masks; lesion-free slices stay, ids start at 1.

    "file_name" is relative to `root`, the folder of the JSON to be written; the pairs' further keys
    go into the image records. `values` to `by_rank` are as for `lesion_instances`. `whole_images`
    reads images to their end, as the header of a truncated file looks intact. `errors` is the
    policy for unusable pairs; ValueError when none is left.
    """
    categories = lesion_categories(values.classes(mask_type))  # first: no pair is to blame
    images: list[dict] = []
    annotations: list[dict] = []
    progress = f"masks ({mask_type})" if mask_type else "masks"
    for image, mask, extra in tqdm(pairs, desc=progress, unit="slice", disable=None):
        try:
            height, width = read_slice(image).shape[:2] if whole_images else check_slice(image)
            pixels = _read_mask_of(image, mask, (height, width))
            try:
                instances = lesion_instances(pixels, values, mask_type, min_area, by_rank)
            except ValueError as error:
                raise ValueError(f"{mask}: {error}") from None
        except (FileNotFoundError, ValueError) as error:
            errors.handle(error)
            continue
        record = {"id": len(images) + 1, "file_name": relative_path(image, root)}
        images.append({**record, "height": height, "width": width, **extra})
        for instance in instances:
            # COCOeval takes an annotation with id 0 for "not matched".
            ids = {"id": len(annotations) + 1, "image_id": len(images)}
            annotations.append({**ids, **instance})
    if not images:
        raise ValueError(f"{root}: no usable slice with a mask")
    info = {"description": "CT lesions", "mask_type": mask_type, "min_area": min_area}
    return {
        "info": {**info, "values_by_rank": True} if by_rank else info,
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def describe_coco(coco: dict) -> str:
    """Count images, lesion-free images and instances, with area quartiles, in a small table."""
    bearing = {item["image_id"] for item in coco["annotations"]}
    images = len(coco["images"])
    lines = [f"{counted(images, 'image')}, {images - len(bearing):,} lesion-free"]
    width = max((len(category["name"]) for category in coco["categories"]), default=0)
    for category in coco["categories"]:
        mine = [item for item in coco["annotations"] if item["category_id"] == category["id"]]
        areas = [item["area"] for item in mine]
        quartiles = [f"{q:.0f}" for q in np.percentile(areas or [0], (25, 50, 75))]
        sizes = f", area quartiles {', '.join(quartiles)} px" if areas else ""
        lines.append(f"  {category['name']:>{width}}: {counted(len(areas), 'instance')}{sizes}")
    return "\n".join(lines)


def write_coco(coco: dict, path: Path) -> None:
    """Write the JSON whole or not at all."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(coco), encoding="utf-8")


def write_parts(parts: Mapping[str, dict], output: Path) -> str:
    """Write the COCO dictionary of each part to its `part_file`, and describe them."""
    lines, advice = [], []
    for part, coco in parts.items():
        path = part_file(output, part)
        write_coco(coco, path)
        advice += reading_advice(path, (image["file_name"] for image in coco["images"]))
        known = len({image.get("patient") for image in coco["images"]} - {None})
        patients = counted(known, "patient") if known else "unknown patients"
        lines.append(f"{path}: {patients}, {describe_coco(coco)}")
    return "\n".join(lines + advice)


def part_file(output: Path, part: str) -> Path:
    """Return <output stem>_<part>.json, or `output` for the part ""."""
    return output.with_stem(f"{output.stem}_{part}") if part else output


def _read_mask_of(image: Path, mask: Path, size: tuple[int, int]) -> np.ndarray:
    pixels = read_mask(mask)
    if pixels.shape != size:
        raise ValueError(
            f"{mask}: found a mask of {pixels.shape[1]} x {pixels.shape[0]} pixels, expected "
            f"{size[1]} x {size[0]} as its image {image}"
        )
    return pixels
