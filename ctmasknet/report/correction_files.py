"""Results of `ctmasknet predict` -> files that programs for drawing masks read, to be corrected.

Shapes: Z slices of H x W pixels. Values of label maps: 0 is background, k the k-th lesion class.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from PIL import Image

from ..data.coco_entries import read_json
from ..data.corrected import EXPORTED
from ..data.images import read_mask, read_slice
from ..data.label_studio import label_config, label_studio_tasks
from ..data.lesion_masks import component_instances, lesion_categories, write_coco
from ..data.window import Window
from ..errors import RAISE
from ..inference.inputs import Input
from ..quantification.label_map import LABEL_COLUMNS
from ..volumes import sitk
from ..volumes.safe_reader import checked_reader
from ..volumes.sitk_headers import unpacked_nifti
from ..volumes.volume import Volume
from ..wording import counted
from .case_files import LABELS, MASKS, NIFTI_MASK, RESULT, names_apart

CVAT_LABELS = "cvat_labels.json"
TASKS, INTERFACE = "label_studio_tasks.json", "label_studio_interface.xml"


@dataclass(frozen=True)
class Result:
    """What `ctmasknet predict` has written of an input."""

    source: Input
    folder: Path
    content: dict[str, Any]  # of result.json
    colours: dict[str, str]  # lesion class -> "#rrggbb", in the order of labels

    @property
    def window(self) -> Window:
        """The window that the models saw."""
        return Window.parse(self.content["about"]["settings"]["window"])

    @property
    def series(self) -> str | None:
        """The series that was taken of several."""
        return self.content["about"]["settings"].get("series")


def read_results(folder: Path, source: Input) -> Result:
    """Read the results of an input from their folder.

    Raises a FileNotFoundError if there are none, a ValueError if they have no masks.
    """
    if not (folder / RESULT).is_file():
        raise FileNotFoundError(
            f"{folder / RESULT}: no results of {source.path}; predict it first, from the same path "
            "and with the same file of names"
        )
    content = read_json(folder / RESULT, "results")
    if not isinstance(content, dict) or not {"about", "slices", "patient"} <= content.keys():
        raise ValueError(f"{folder / RESULT}: are no results of `ctmasknet predict`")
    if not (folder / LABELS).is_file():
        raise ValueError(
            f"{folder}: found boxes without masks, expected lesions with masks: predict it again "
            "with --lesion-model"
        )
    with (folder / LABELS).open(newline="", encoding="utf-8") as stream:
        rows = [[row[name] for name in LABEL_COLUMNS] for row in csv.DictReader(stream)]
    return Result(source, folder, content, {name: colour for _, name, colour in rows})


def check_classes(results: Sequence[Result]) -> dict[str, str]:
    """Return the lesion classes of all results, with colours; a ValueError if they differ."""
    colours = results[0].colours
    if other := next((x for x in results if x.colours != colours), None):
        raise ValueError(
            f"{other.folder}: has the classes {', '.join(other.colours)}, expected "
            f"{', '.join(colours)} as {results[0].folder}: export them into folders of their own"
        )
    return colours


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
        for name, image, labels, known in _slices(result):
            if (folder / name).exists() or image.shape[:2] != labels.shape:
                raise ValueError(
                    f"{result.folder}: its masks are of other slices; predict it again"
                )
            Image.fromarray(image).save(folder / name)
            size = {"height": labels.shape[0], "width": labels.shape[1]}
            images.append({"id": len(images) + 1, "file_name": name, **size, **known})
            for lesion in _instances(labels, len(colours)):
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


def _slices(result: Result) -> Iterator[tuple[str, np.ndarray, np.ndarray, dict[str, Any]]]:
    """Yield of each searched slice a file name, pixels, label map, and what is known of it."""
    stem, content = result.source.folder, result.content
    searched = [x["index"] for x in content["slices"] if x["searched"]]
    if result.source.is_scan:
        volume = result.source.read(
            result.window, content["about"]["settings"].get("series"), RAISE
        )
        labels = read_label_volume(result.folder / NIFTI_MASK, volume)
        known = {"patient": content["patient"], "scan": stem}
        if volume.measured:
            known["spacing"] = list(volume.spacing)
        for z in searched:
            grey = volume.window_for(result.window).to_uint8(volume.hu[z])
            yield f"{stem}_{z:04d}.png", grey, labels[z], {**known, "slice_index": z}
        return
    names = names_apart([Path(x["file"]).name for x in content["slices"]])
    if len(names) != len(result.source.files):
        raise ValueError(
            f"{result.folder}: has {counted(len(names), 'slice')}, of which some are no longer in "
            f"{result.source.path}, or others have come: predict it again"
        )
    for index in searched:
        image = read_slice(result.source.files[index])
        pixels = image[..., 0] if (image == image[..., :1]).all() else image
        mask = f"{names[index]}.png"
        yield f"{stem}_{mask}", pixels, read_mask(result.folder / MASKS / mask), {}


def read_label_volume(path: Path, volume: Volume) -> np.ndarray:
    """Read the label map (Z, H, W) that `predict` wrote; a ValueError if it is of another scan."""
    with unpacked_nifti(path) as plain:
        image = checked_reader(plain, path)[0].Execute()
    labels = sitk.GetArrayFromImage(image)
    away = np.abs(np.subtract(image.GetOrigin(), volume.origin)).max()
    if labels.shape != volume.hu.shape or away > volume.spacing[2] / 2:
        raise ValueError(
            f"{path}: found {labels.shape} voxels (z, y, x), which do not lie as the "
            f"{volume.hu.shape} of {volume.source}: the results are of another scan: predict it"
        )
    return labels


def _instances(labels: np.ndarray, classes: int) -> Iterator[dict[str, Any]]:
    """Yield the outlines in a label map as COCO annotations, with plain run lengths.

    CVAT and others read run lengths as numbers; few read COCO's compressed string.
    """
    for category in range(1, classes + 1):
        for lesion in component_instances(labels == category, category, 0):
            yield {**lesion, "segmentation": run_lengths(lesion["segmentation"])}


def run_lengths(rle: dict[str, Any]) -> dict[str, Any]:
    """Return COCO's RLE with its runs as numbers, by column, the first one of background."""
    pixels = mask_util.decode(rle).ravel(order="F")
    changes = np.flatnonzero(np.diff(pixels, prepend=0, append=1 - pixels[-1]))
    return {"size": list(rle["size"]), "counts": np.diff(changes, prepend=0).tolist()}
