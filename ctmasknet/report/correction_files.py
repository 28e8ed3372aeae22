"""Results of `ctmasknet predict` -> files that programs for drawing masks read, to be corrected.

Shapes: Z slices of H x W pixels. Values of label maps: 0 is background, k the k-th lesion class.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from PIL import Image

from ..data.corrected import EXPORTED
from ..data.images import read_mask, read_slice
from ..data.label_studio import label_config, label_studio_tasks
from ..data.lesion_masks import component_instances, lesion_categories, write_coco
from ..wording import counted
from .case_files import MASKS, NIFTI_IDS, NIFTI_MASK
from .written_results import Result, check_classes, read_label_volume

CVAT_LABELS = "cvat_labels.json"
TASKS, INTERFACE = "label_studio_tasks.json", "label_studio_interface.xml"


@dataclass(frozen=True, eq=False)
class _Slice:
    name: str  # of its file
    image: np.ndarray  # (H, W) or (H, W, 3) uint8
    labels: np.ndarray  # (H, W)
    ids: np.ndarray | None  # (H, W), which lesion in three dimensions, if that is known
    known: dict[str, Any]  # patient, scan, slice_index, spacing


def export_slices(results: Sequence[Result], folder: Path, url: str | None) -> str:
    """Write slices, 8-bit PNG in the models' window, and their lesions; return it in words.

    EXPORTED has the lesions as COCO, CVAT_LABELS the labels of a task of CVAT. Slices without lung
    are left out. With `url`, by which Label Studio finds the slices, TASKS and INTERFACE are for
    it. Raises a ValueError for results of models with other classes, or masks that do not fit.
    """
    colours = check_classes(results)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        for one in _slices(result):
            if (folder / one.name).exists() or one.image.shape[:2] != one.labels.shape:
                raise ValueError(f"{result.folder}: has masks of other slices; predict it again")
            Image.fromarray(one.image).save(folder / one.name)
            height, width = one.labels.shape
            size = {"height": height, "width": width}
            images.append({"id": len(images) + 1, "file_name": one.name, **size, **one.known})
            for lesion in _instances(one, len(colours)):
                ids = {"id": len(annotations) + 1, "image_id": len(images)}
                annotations.append({**ids, **lesion})
    coco = {
        "info": {"description": "CT lesions, predicted by ctmasknet: to be corrected"},
        "images": images,
        "annotations": annotations,
        "categories": lesion_categories(list(colours)),
    }
    write_coco(coco, folder / EXPORTED)
    named = [{"name": name, "color": c, "attributes": []} for name, c in colours.items()]
    _write(folder / CVAT_LABELS, json.dumps(named, indent=2))
    if url is not None:
        _write(folder / TASKS, json.dumps(label_studio_tasks(coco, url)))
        _write(folder / INTERFACE, label_config(colours))
    found = f"{counted(len(images), 'slice')}, {counted(len(annotations), 'outline')}"
    return f"{found}, of the classes {', '.join(colours)}"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _slices(result: Result) -> Iterator[_Slice]:
    """Yield the searched slices of a result."""
    stem = result.source.folder
    if not result.source.is_scan:
        for index in result.searched:
            image, mask = read_slice(result.source.files[index]), f"{result.masks[index]}.png"
            grey = (image == image[..., :1]).all()
            labels = read_mask(result.folder / MASKS / mask)
            yield _Slice(f"{stem}_{mask}", image[..., 0] if grey else image, labels, None, {})
        return
    volume = result.read()
    labels = read_label_volume(result.folder / NIFTI_MASK, volume)
    numbered = (result.folder / NIFTI_IDS).is_file()
    ids = read_label_volume(result.folder / NIFTI_IDS, volume) if numbered else None
    known: dict[str, Any] = {"patient": result.patient, "scan": stem}
    if volume.measured:
        known["spacing"] = list(volume.spacing)
    window = volume.window_for(result.window)
    for z in result.searched:
        grey = window.to_uint8(volume.hu[z])
        own = None if ids is None else ids[z]
        yield _Slice(f"{stem}_{z:04d}.png", grey, labels[z], own, {**known, "slice_index": z})


def _instances(one: _Slice, classes: int) -> Iterator[dict[str, Any]]:
    """Yield the outlines of a slice as COCO annotations, with plain run lengths.

    They are the connected patches of a class, and of a lesion where those are known: lesions that
    touch stay apart. CVAT and others read run lengths as numbers; few read COCO's compressed text.
    """
    for category in range(1, classes + 1):
        mask = one.labels == category
        if one.ids is None:
            found = component_instances(mask, category, 0)
        else:
            found = [
                {**lesion, "lesion_id": int(number)}
                for number in np.unique(one.ids[mask])
                for lesion in component_instances(mask & (one.ids == number), category, 0)
            ]
        for lesion in found:
            yield {**lesion, "segmentation": run_lengths(lesion["segmentation"])}


def run_lengths(rle: dict[str, Any]) -> dict[str, Any]:
    """Return COCO's RLE with its runs as numbers, by column, the first one of background."""
    pixels = mask_util.decode(rle).ravel(order="F")
    changes = np.flatnonzero(np.diff(pixels, prepend=0, append=1 - pixels[-1]))
    return {"size": list(rle["size"]), "counts": np.diff(changes, prepend=0).tolist()}
