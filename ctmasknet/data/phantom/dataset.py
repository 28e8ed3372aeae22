"""Write a phantom data set: slices, masks, image lists and lesion JSONs, whole or not at all."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from multiprocessing.pool import ThreadPool
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..classes import IMAGE_CLASSES, MASK_PRESETS, PHANTOM_MASK_TYPES, SPLITS
from ..lesion_masks import coco_from_pairs, write_coco
from ..list_files import COLUMNS, write_csv
from .slices import draw_patient, draw_slice, slice_numbers, window

Row = dict[str, str]  # a line of an image list


@dataclass(frozen=True, order=True)
class Task:
    """A patient to draw."""

    index: int
    label: int
    split: str

    @property
    def name(self) -> str:
        return f"P{self.index:04d}"


def write_phantom(
    output: Path,
    patients: int = 174,
    slices: int = 5,
    size: int = 512,
    seed: int = 0,
    split: Sequence[float] = (20, 3, 6),
    threads: int = 1,
    overwrite: bool = False,
) -> str:
    """Draw and write a phantom data set; the same arguments give the same bytes.

    Args:
        output: folder to make: image/, mask/ (CNCB values), {split}.csv and
            lesion_{merge,both}_{split}.json for train, val and test.
        patients: number of patients, shared evenly over the image classes.
        slices: per patient, 1 to 100.
        size: height and width in pixels, at least 64.
        seed: of everything random.
        split: weights of train, val and test.
        threads: that draw at the same time; no influence on the result.
        overwrite: replace a phantom data set in `output`.

    Returns:
        A small table of patients, slices and lesions (those in the JSONs, more than 100 px) by
        split and class.

    Raises:
        ValueError: an argument out of range, or an output folder that holds something else.
    """
    for name, value, low, high in (
        ("slices", slices, 1, 100),
        ("size", size, 64, 2048),
        ("threads", threads, 1, 256),
        ("patients", patients, 1, 9999),
        ("seed", seed, 0, 2**32),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} {value}: expected {low} to {high}")
    _check_output(output, overwrite)
    tasks = plan_patients(patients, split, seed)
    output.parent.mkdir(parents=True, exist_ok=True)
    root = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        draw = partial(_draw_task, root=root, slices=slices, size=size, seed=seed)
        drawn = tqdm(_draw_all(tasks, threads, draw), "drawing", len(tasks), unit="patient")
        rows: dict[str, list[Row]] = {name: [] for name in SPLITS}
        for task, mine in zip(tasks, drawn, strict=True):
            rows[task.split] += mine
        table = [f"{'split':<6}{'class':<18}{'patients':>9}{'slices':>8}{'lesions':>9}"]
        for name in SPLITS:
            table += _describe(name, rows[name], _write_lists(root, name, rows[name]))
        if output.exists():
            shutil.rmtree(output)
        root.rename(output)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return "\n".join(table)


def plan_patients(patients: int, split: Sequence[float], seed: int) -> list[Task]:
    """Share the patients out evenly over classes, and by weight over splits within each class.

    ValueError: too few patients to give each split one of each class.
    """
    if len(split) != len(SPLITS) or not all(0 < weight < np.inf for weight in split):
        raise ValueError(f"split {list(split)}: expected three positive weights, train val test")
    rng = np.random.default_rng([seed, 1_000_000])  # unlike any patient's [seed, index]
    tasks = []
    for label, image_class in enumerate(IMAGE_CLASSES):
        members = rng.permutation(np.arange(label, patients, len(IMAGE_CLASSES)))
        ends = [round(len(members) * weight / sum(split)) for weight in accumulate(split)]
        for name, start, end in zip(SPLITS, [0, *ends], ends, strict=False):
            if start == end:
                raise ValueError(
                    f"{patients} patients split {list(split)} leave none of the class "
                    f"{image_class} for {name}: draw more patients"
                )
            tasks += [Task(int(index), label, name) for index in members[start:end]]
    return sorted(tasks)


def _check_output(output: Path, overwrite: bool) -> None:
    """Refuse an output folder that holds something, unless it is a phantom to be overwritten."""
    if not output.exists():
        return
    if not output.is_dir():
        raise ValueError(f"{output}: is a file, expected a folder to write the data set to")
    names = {"image", "mask", *(f"{split}.csv" for split in SPLITS)}
    names |= {f"lesion_{kind}_{split}.json" for kind in PHANTOM_MASK_TYPES for split in SPLITS}
    found = sorted(path.name for path in output.iterdir())
    if found and not overwrite:
        raise ValueError(
            f"{output}: found {len(found)} entries, expected an empty or new folder; "
            "choose another one or pass --overwrite"
        )
    for name in found:
        if name not in names:
            raise ValueError(f"{output}: found {name}, which is no part of a phantom data set")


def _draw_all(tasks: list[Task], threads: int, draw: partial) -> Iterator[list[Row]]:
    if threads == 1:
        yield from map(draw, tasks)
        return
    # NumPy and OpenCV release the lock, and processes would import everything again.
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)  # its own threads would compete for the same cores
    try:
        with ThreadPool(threads) as pool:
            yield from pool.imap(draw, tasks)
    finally:
        cv2.setNumThreads(before)


def _draw_task(task: Task, root: Path, slices: int, size: int, seed: int) -> list[Row]:
    """Draw and write one patient."""
    patient = draw_patient(seed, task.index, task.label)
    rows = []
    for number in slice_numbers(patient, slices):
        hu, mask = draw_slice(patient, number, size)
        file = f"image/{task.name}/{number:03d}.png"
        for path, pixels in ((root / file, window(hu)), (_mask_of(root / file), mask)):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(path), pixels):
                raise OSError(f"{path}: could not be written")
        values = (file, str(task.label), task.name, f"{task.name}_S1")
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def _mask_of(image: Path) -> Path:
    return image.parents[2] / "mask" / image.parent.name / image.name


def _write_lists(root: Path, split: str, rows: list[Row]) -> dict:
    """Write a split's image list and lesion JSONs; return the JSON of merged lesions."""
    write_csv(root / f"{split}.csv", COLUMNS, rows)
    pairs = [
        (image := root / row["file"], _mask_of(image), {k: row[k] for k in ("patient", "scan")})
        for row in rows
    ]
    cocos = {
        kind: coco_from_pairs(pairs, root, MASK_PRESETS["cncb"], kind)
        for kind in PHANTOM_MASK_TYPES
    }
    for kind, coco in cocos.items():
        write_coco(coco, root / f"lesion_{kind}_{split}.json")
    return cocos["merge"]


def _describe(split: str, rows: list[Row], coco: dict) -> Iterator[str]:
    file_of = {image["id"]: image["file_name"] for image in coco["images"]}
    for label, name in enumerate(IMAGE_CLASSES):
        mine = {row["file"]: row["patient"] for row in rows if row["label"] == str(label)}
        lesions = sum(file_of[item["image_id"]] in mine for item in coco["annotations"])
        patients = len(set(mine.values()))
        yield f"{split:<6}{name:<18}{patients:>9}{len(mine):>8}{lesions:>9}"
