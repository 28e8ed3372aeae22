"""Lesion data sets converted to another mask type, without tiny lesions.

The result is a file and a data set of its own, because training reads the catalog and evaluators
read the file, and all must see the same lesions.
"""

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pycocotools.mask as mask_util
from detectron2.data import MetadataCatalog

from .classes import LESION_CLASSES, lesion_classes
from .lesion_masks import component_instances, lesion_categories, write_coco
from .registration import reading_coco, register_derived_dataset


def regroup(coco: dict, mask_type: str, min_area: int) -> dict:
    """Convert lesions to another mask type and drop the tiny ones.

    "merge" turns GGO and C into the 8-connected components of their union, "ggo" drops C, "" keeps
    the classes. Crowd annotations (iscrowd) are kept, unmerged.

    Args:
        coco: COCO dictionary with RLE or polygon masks; it is not changed.
        mask_type: "both", "merge", "ggo" or "".
        min_area: instances of at most so many pixels of their mask are background.

    Returns:
        A new dictionary with the same images; annotation ids start at 1, areas are in pixels,
        "info" holds mask_type ("" for classes other than the papers') and min_area.

    Raises:
        ValueError: a mask type that is unknown or cannot be made from the file's classes, or an
            unusable mask.
    """
    names = {item["id"]: item["name"] for item in coco["categories"]}
    merging = mask_type == "merge" and len(names) > 1
    new_ids = _new_category_ids(names, mask_type)
    by_image = defaultdict(list)
    for item in coco["annotations"]:
        category = new_ids[item["category_id"]]
        if category is not None:
            by_image[item["image_id"]].append({**item, "category_id": category})
    annotations: list[dict] = []
    for image in coco["images"]:
        mine = by_image[image["id"]]
        crowds = [item for item in mine if item.get("iscrowd")]
        lesions = [item for item in mine if not item.get("iscrowd")]
        kept = (_merged if merging else _larger)(lesions, image, min_area)
        for item in kept + crowds:
            ids = {"id": len(annotations) + 1, "image_id": image["id"]}
            annotations.append({**item, **ids})
    info = {"mask_type": mask_type or _mask_type(list(names.values())), "min_area": min_area}
    return {
        **coco,
        "info": {**coco.get("info", {}), **info},
        "annotations": annotations,
        "categories": lesion_categories(mask_type) if mask_type else coco["categories"],
    }


def regrouped_dataset(name: str, mask_type: str, min_area: int, folder: Path) -> str:
    """Find or make the data set with this mask type and without tiny lesions, and return its name.

    That is `name` when nothing would change, or when its file does not exist (loading it says what
    to do). Else it is "<name>_merge_min100", or "<name>_min100" where the classes stay: registered,
    and written to `folder` in each call, so that it follows its source. ValueError: a file that
    cannot be used or regrouped, or a new name that belongs to another data set.
    """
    metadata = MetadataCatalog.get(name)
    source = Path(metadata.get("json_file", ""))
    if not source.is_file():
        return name
    with reading_coco(source):
        coco = json.loads(source.read_text(encoding="utf-8"))
        try:
            regrouped = regroup(coco, mask_type, min_area)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None
    same_classes = _classes(regrouped) == _classes(coco)
    # The per-image AP takes the "area" in the file, regrouping that of the mask.
    if (
        same_classes
        and len(regrouped["annotations"]) == len(coco["annotations"])
        and all(x.get("iscrowd") or x.get("area", 0) > min_area for x in coco["annotations"])
    ):
        return name
    root = os.path.abspath(metadata.get("image_root", source.parent))
    regrouped["images"] = [
        {**image, "file_name": os.path.join(root, image["file_name"])} for image in coco["images"]
    ]
    new_name = "_".join([name, *([] if same_classes else [mask_type]), f"min{min_area}"])
    path = folder / f"{new_name}.json"
    register_derived_dataset(new_name, path, source=name)  # first: it refuses a name that is taken
    write_coco(regrouped, path)
    return new_name


def _classes(coco: dict) -> list[str]:
    """Return the class names in Detectron2's order."""
    return [item["name"] for item in sorted(coco["categories"], key=lambda item: item["id"])]


def _mask_type(names: Sequence[str]) -> str:
    known = (kind for kind, classes in LESION_CLASSES.items() if sorted(classes) == sorted(names))
    return next(known, "")


def _new_category_ids(names: dict[int, str], mask_type: str) -> dict[int, int | None]:
    """Map category ids to new ones, None for background."""
    if not mask_type:
        return {old: old for old in names}
    classes, found = lesion_classes(mask_type), _mask_type(list(names.values()))
    if found not in (mask_type, "both"):
        raise ValueError(
            f"found {f'mask type {found!r}' if found else 'no known mask type'} (classes "
            f"{', '.join(names.values())}), which cannot be read as mask type '{mask_type}' "
            f"(classes {', '.join(classes)}); choose another INPUT.MASK_TYPE ('' takes the "
            f"classes as they are) or make the file with `ctmasknet prepare masks "
            f"--mask-type {mask_type}`"
        )
    if mask_type == "merge":
        return dict.fromkeys(names, 1)
    new_ids = {name: k for k, name in enumerate(classes, start=1)}
    return {old: new_ids.get(name) for old, name in names.items()}


def _merged(lesions: list[dict], image: dict, min_area: int) -> list[dict]:
    if not lesions:
        return []
    union = mask_util.decode(mask_util.merge([_rle(item, image) for item in lesions]))
    return component_instances(union, 1, min_area)


def _larger(lesions: list[dict], image: dict, min_area: int) -> list[dict]:
    measured = [{**item, "area": int(mask_util.area(_rle(item, image)))} for item in lesions]
    return [item for item in measured if item["area"] > min_area]


def _rle(item: dict, image: dict) -> dict:
    """Return the mask of an annotation as compressed RLE."""
    size, mask = [image["height"], image["width"]], item["segmentation"]
    if isinstance(mask, list):
        # Detectron2 drops the same invalid polygons.
        polygons = [points for points in mask if len(points) >= 6 and len(points) % 2 == 0]
        if not polygons:
            raise ValueError(f"annotation {item.get('id')} has no valid polygon: remove it")
        return mask_util.merge(mask_util.frPyObjects(polygons, *size))
    if list(mask["size"]) != size:
        raise ValueError(
            f"annotation {item.get('id')} has a mask of {mask['size'][1]} x {mask['size'][0]} "
            f"pixels, expected {size[1]} x {size[0]} as its image {image['file_name']}"
        )
    return mask_util.frPyObjects(mask, *size) if isinstance(mask["counts"], list) else mask
