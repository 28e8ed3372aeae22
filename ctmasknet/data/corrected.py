"""Lesions that were corrected in CVAT or Label Studio -> a COCO file of lesions for training.

Both forget what they do not know: patients and scans come from the folder that
`ctmasknet prepare correction` wrote, and slices are found by the names of their files.
"""

import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pycocotools.mask as mask_util

from ..errors import RAISE, ErrorPolicy
from ..limits import check_list_size
from ..wording import counted, same_but_for_spelling
from .coco_entries import read_json
from .coco_lesions import category_names, read_coco_lesions
from .label_studio import is_label_studio, read_label_studio
from .lesion_masks import describe_coco, lesion_categories, write_coco
from .list_paths import reading_advice, relative_path

EXPORTED = "instances_predictions.json"  # of `ctmasknet prepare correction`
Lesions = dict[str, list[dict[str, Any]]]  # name of a slice -> "class", "size", "segmentation"


def prepare_corrected(
    folder: Path, corrected: Path, output: Path, errors: ErrorPolicy = RAISE
) -> str:
    """Turn corrected lesions into a COCO file; return what was written, in words.

    Args:
        folder: that `ctmasknet prepare correction` wrote, with its slices.
        corrected: CVAT's export as COCO 1.0, a .zip or the .json in it, or Label Studio's as JSON.
        output: a .json to write. Slices that nobody has submitted are left out.
        errors: policy for single lesions that cannot be used.

    Raises:
        FileNotFoundError, ValueError: a file is missing or no such export, has slices that are not
            of the folder or lesions that are no masks, or has nothing of the folder.
    """
    if output.suffix.lower() != ".json" or output.is_dir():
        raise ValueError(f"{output}: expected the name of a .json file to write")
    exported = read_coco_lesions(folder / EXPORTED).coco
    slices = {image["file_name"]: image for image in exported["images"]}
    found = _matched(corrected, _read(corrected, errors), slices)
    classes = _classes(corrected, category_names(exported), found)
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for name, image in slices.items():
        if name not in found:
            continue
        file = relative_path(folder / name, output.parent)
        images.append({**image, "id": len(images) + 1, "file_name": file})
        for lesion in found[name]:
            mask = lesion["segmentation"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": numbers[lesion["class"]],
                    "bbox": mask_util.toBbox(mask).tolist(),
                    "area": int(mask_util.area(mask)),
                    "iscrowd": 0,
                    "segmentation": mask,
                }
            )
    coco = {
        "info": {"description": "CT lesions, corrected"},
        "images": images,
        "annotations": annotations,
        "categories": lesion_categories(classes),
    }
    write_coco(coco, output)
    lines = [f"{output}: {describe_coco(coco)}"]
    if left := len(slices) - len(images):
        lines.append(f"{counted(left, 'slice')} of {folder} not in {corrected.name}: left out")
    if new := classes[len(exported["categories"]) :]:
        lines.append(f"classes that the predictions did not have: {', '.join(new)}")
    return "\n".join(lines + reading_advice(output, (x["file_name"] for x in images)))


def _read(path: Path, errors: ErrorPolicy) -> Lesions:
    if path.suffix.lower() == ".zip":
        return _read_zip(path, errors)
    if is_label_studio(read_json(path, "corrected lesions")):
        return read_label_studio(path, errors)
    return _read_coco(path, errors)


def _read_zip(path: Path, errors: ErrorPolicy) -> Lesions:
    """Read the one COCO file in CVAT's zip."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of corrected lesions")
    check_list_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [x for x in archive.namelist() if x.lower().endswith(".json")]
            if len(names) != 1:
                found = counted(len(names), "JSON file")
                raise ValueError(f"{path}: found {found}, expected one: CVAT's export as COCO 1.0")
            content = archive.read(names[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(f"{path}: cannot be unpacked ({error}): export it again") from None
    with tempfile.TemporaryDirectory(prefix="ctmasknet-") as place:
        file = Path(place, Path(names[0]).name)
        file.write_bytes(content)
        try:
            return _read_coco(file, errors)
        except ValueError as error:
            raise ValueError(str(error).replace(str(file), f"{path}!{names[0]}")) from None


def _read_coco(path: Path, errors: ErrorPolicy) -> Lesions:
    """Read COCO, in which CVAT marks what is drawn with its brush as crowds."""
    # Its lesions are no crowds: CVAT writes 1 for every mask that is no polygon.
    coco, masks, _ = read_coco_lesions(path, errors, crowds=False)
    names = {item["id"]: item["name"] for item in coco["categories"]}
    files = {image["id"]: Path(image["file_name"]).name for image in coco["images"]}
    found: Lesions = {name: [] for name in files.values()}
    if len(found) < len(files):
        raise ValueError(f"{path}: found slices of one name in several folders; export one task")
    for item, mask in zip(coco["annotations"], masks, strict=True):
        lesion = {"class": names[item["category_id"]], "size": tuple(mask["size"])}
        found[files[item["image_id"]]].append({**lesion, "segmentation": mask})
    return found


def _matched(corrected: Path, found: Lesions, slices: Mapping[str, Any]) -> Lesions:
    """Call slices by the names of the exported files, and check their sizes."""
    matched: Lesions = {}
    for name, lesions in found.items():
        # Label Studio puts a code and "-" before the names of uploads.
        known = next((x for x in (name, name.partition("-")[2]) if x in slices), None)
        if known is None:
            near = next(iter(slices))
            raise ValueError(f"{corrected}: found {name}, expected slices of the export, as {near}")
        size = (slices[known]["height"], slices[known]["width"])
        for lesion in lesions:
            if lesion["size"] != size:
                raise ValueError(
                    f"{corrected}: {name} has a mask of {lesion['size']} (height, width), expected "
                    f"{size} as the exported slice: correct the slices as they were exported"
                )
        matched[known] = lesions
    if not matched:
        raise ValueError(f"{corrected}: found no corrected slice; submit them before the export")
    return matched


def _classes(corrected: Path, known: Iterable[str], found: Lesions) -> list[str]:
    """Return the exported classes, then those that were added."""
    used = (lesion["class"] for lesions in found.values() for lesion in lesions)
    classes = list(dict.fromkeys([*known, *used]))
    if alike := same_but_for_spelling(classes):
        raise ValueError(
            f"{corrected}: found the classes {alike[0]} and {alike[1]}, which differ in spelling "
            "alone: use the names of the export"
        )
    return classes
