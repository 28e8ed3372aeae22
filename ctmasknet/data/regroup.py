"""Lesion data sets with the classes that a run wants, in its order, without tiny lesions.

The result is a file and a data set of its own, because training reads the catalog and evaluators
read the file, and all must see the same lesions.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pycocotools.mask as mask_util
from detectron2.data import MetadataCatalog

from .coco_lesions import (
    category_names,
    in_file,
    located_images,
    read_coco_lesions,
    read_lesion_classes,
)
from .lesion_masks import component_instances, lesion_categories, write_coco
from .mask_rule import PAPERS_RULES, MaskRule
from .registration import register_derived_dataset
from .scan_lesions import LESION_ID, lesion_ids

_LONGEST_SUFFIX = 60  # characters that class names add to a file's name


def regroup(coco: dict, mask_type: str, min_area: int, order: Sequence[str] = ()) -> dict:
    """Convert lesions to another mask type or order of classes and drop the tiny ones.

    Classes that are merged become the 8-connected components of their union, others keep their
    instances; where lesions have a "lesion_id", they are then numbered anew. Crowd annotations
    (iscrowd) are kept, unmerged.

    Args:
        coco: checked COCO dictionary (see `CocoLesions`); it is not changed.
        mask_type: which classes are kept or merged, as `MaskRule.parse` reads it.
        min_area: instances of at most so many pixels of their mask are background.
        order: the classes that result, in the order of their ids; () leaves that to the mask type
            or, for "", to the file.

    Returns:
        A new dictionary with the same images; annotation ids start at 1, areas are in pixels,
        "info" holds mask_type and min_area.

    Raises:
        ValueError: a mask type that cannot be made from the file's classes, or other classes than
            those of `order`.
    """
    classes = _classes(coco, mask_type, order)
    by_image = defaultdict(list)
    for item in coco["annotations"]:
        if (category := classes.new_ids[item["category_id"]]) is not None:
            by_image[item["image_id"]].append({**item, "category_id": category})
    numbered = bool(classes.merged) and any(LESION_ID in x for x in coco["annotations"])
    annotations: list[dict] = []
    for image in coco["images"]:
        mine = by_image[image["id"]]
        crowds = [item for item in mine if item.get("iscrowd")]
        lesions = [item for item in mine if not item.get("iscrowd")]
        kept = _measured([x for x in lesions if x["category_id"] not in classes.merged], image)
        for category in classes.merged:
            parts = [item for item in lesions if item["category_id"] == category]
            kept += _merged(parts, image, category)
        annotations += [{**item, "image_id": image["id"]} for item in kept + crowds]
    if numbered:  # before the tiny ones go, which may be a bridge
        image_of = {image["id"]: image for image in coco["images"]}
        coded = [{**x, "segmentation": _rle(x, image_of[x["image_id"]])} for x in annotations]
        for item, number in zip(annotations, lesion_ids(coco["images"], coded), strict=True):
            item[LESION_ID] = number
    annotations = [x for x in annotations if x.get("iscrowd") or x["area"] > min_area]
    for number, item in enumerate(annotations, start=1):
        item["id"] = number
    info = {"mask_type": mask_type, "min_area": min_area}
    return {
        **coco,
        "info": {**coco.get("info", {}), **info},
        "annotations": annotations,
        "categories": classes.categories,
    }


class _Classes(NamedTuple):
    """What becomes of a file's classes."""

    categories: list[dict]  # the file's own where nothing changes
    new_ids: dict[int, int | None]  # category id -> new one, None: background
    merged: list[int]  # new ids of classes that are made of several


def _classes(coco: dict, mask_type: str, order: Sequence[str]) -> _Classes:
    found = category_names(coco)
    sources = _sources(found, mask_type)
    classes = tuple(order or sources)
    if sorted(classes) != sorted(sources):
        raise ValueError(
            f"found the lesion classes {', '.join(sources)}, expected those of the run, "
            f"{', '.join(classes)}; INPUT.MASK_TYPE ('{mask_type}') can leave out, merge and "
            "rename classes, DATASETS.LESION_CLASSES names the run's"
        )
    same = classes == found and all(made_of == (name,) for name, made_of in sources.items())
    categories = coco["categories"] if same else lesion_categories(classes)
    id_of = {item["name"]: item["id"] for item in categories}
    part_of = {part: id_of[name] for name, parts in sources.items() for part in parts}
    return _Classes(
        categories,
        {item["id"]: part_of.get(item["name"]) for item in coco["categories"]},
        sorted(id_of[name] for name, parts in sources.items() if len(parts) > 1),
    )


def lesion_classes_of(name: str, mask_type: str) -> tuple[str, ...]:
    """Return the classes of a lesion data set as a mask type reads it.

    Without a file, they are those in its metadata, () if there are none. ValueError: a file that
    cannot be used or read so.
    """
    if (source := _file(name)) is None:
        return tuple(MetadataCatalog.get(name).get("thing_classes", ()))
    found = read_lesion_classes(source)
    with in_file(source):
        return tuple(_sources(found, mask_type))


def regrouped_dataset(
    name: str, mask_type: str, min_area: int, folder: Path, order: Sequence[str] = ()
) -> str:
    """Find or make the data set with this mask type and order of classes, without tiny lesions.

    Returns its name. That is `name` when nothing is changed or repaired, or when its file does not
    exist (loading it says what to do). Else it is "<name>_merge_min100",
    "<name>_a_b_1f0c3b_min100" (the digits tell what the classes a and b are made of), or
    "<name>_min100" where they stay: registered, and written to `folder` in each call, so that it
    follows its source. ValueError: a file that cannot be used or regrouped, or a new name that
    belongs to another data set.
    """
    if (source := _file(name)) is None:
        return name
    coco, _, repairs = read_coco_lesions(source)
    with in_file(source):
        regrouped = regroup(coco, mask_type, min_area, order)
    same_classes = regrouped["categories"] is coco["categories"]
    # The per-image AP takes the "area" in the file, regrouping that of the mask.
    if (
        same_classes
        and not repairs  # Detectron2's evaluator reads the file by itself
        and len(regrouped["annotations"]) == len(coco["annotations"])
        and all(x.get("iscrowd") or x["area"] > min_area for x in coco["annotations"])
    ):
        return name
    regrouped["images"] = located_images(source.absolute(), coco)
    suffix = [] if same_classes else [_suffix(coco, mask_type, category_names(regrouped))]
    new_name = "_".join([name, *suffix, f"min{min_area}"])
    path = folder / f"{new_name}.json"
    register_derived_dataset(new_name, path, source=name)  # first: it refuses a name that is taken
    write_coco(regrouped, path)
    return new_name


def _file(name: str) -> Path | None:
    """Return the file of a registered data set; None where there is none."""
    path = Path(MetadataCatalog.get(name).get("json_file", ""))
    return path if path.is_file() else None


def _sources(found: Sequence[str], mask_type: str) -> dict[str, tuple[str, ...]]:
    """Return class -> the file's classes that it is made of."""
    if mask_type == "merge" and tuple(found) == ("GGO",):
        raise ValueError(
            "found GGO alone, so consolidation may be background, where mask type 'merge' expects "
            "both; use 'ggo', or write 'lesion=*' if there is nothing else"
        )
    return MaskRule.parse(mask_type).apply(found)


def _suffix(coco: dict, mask_type: str, classes: Sequence[str]) -> str:
    """Return what tells this reading of a file from any other: of other parts, in another order."""
    sources = _sources(category_names(coco), mask_type)
    if mask_type in PAPERS_RULES and tuple(classes) == tuple(sources):
        return mask_type
    listed = re.sub(r"\W+", "_", "_".join(classes))[:_LONGEST_SUFFIX]
    made_of = json.dumps([(name, sources[name]) for name in classes])
    return f"{listed}_{hashlib.sha256(made_of.encode()).hexdigest()[:6]}"


def _merged(lesions: list[dict], image: dict, category: int) -> list[dict]:
    if not lesions:
        return []
    union = mask_util.decode(mask_util.merge([_rle(item, image) for item in lesions]))
    return component_instances(union, category, min_area=0)


def _measured(lesions: list[dict], image: dict) -> list[dict]:
    return [{**item, "area": int(mask_util.area(_rle(item, image)))} for item in lesions]


def _rle(item: dict, image: dict) -> dict:
    """Return the mask of an annotation as compressed RLE."""
    size, mask = [image["height"], image["width"]], item["segmentation"]
    if isinstance(mask, list):
        return mask_util.merge(mask_util.frPyObjects(mask, *size))
    return mask_util.frPyObjects(mask, *size) if isinstance(mask["counts"], list) else mask
