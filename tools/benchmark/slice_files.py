"""A synthetic data set of PNG files to be read from disk.

They resemble files of CT slices: phantoms with a scanner's noise, 512 x 512 grey pixels as RGB.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from tqdm import tqdm

from ctmasknet.data.classes import IMAGE_CLASSES
from ctmasknet.data.image_lists import write_image_list
from ctmasknet.data.phantom import draw_patient, draw_slice, slice_numbers, window
from ctmasknet.data.registration import register_image_dataset

SLICE_LIST = "slices.csv"
SIDE = 512
_PER_PATIENT, _DRAWN = 8, 240  # drawing takes longer than writing, so few are drawn
_DATASET = "benchmark_slices"
_THREADS = 2
_COMPRESSION = 3  # 200 kB a slice; OpenCV's default leaves twice as much


@contextlib.contextmanager
def slice_dataset(count: int, folder: Path | None = None) -> Iterator[tuple[str, Path]]:
    """Register slices as a data set inside a `with` block.

    Args:
        count: of slices.
        folder: of the files, which are written if there are none; None for a temporary one.

    Yields:
        The data set's name, and a temporary folder for results.

    Raises:
        ValueError: see `write_slices`.
    """
    with tempfile.TemporaryDirectory(prefix="ctmasknet-") as scratch:
        register_image_dataset(_DATASET, write_slices(folder or Path(scratch) / "slices", count))
        try:
            yield _DATASET, Path(scratch) / "output"
        finally:
            MetadataCatalog.pop(_DATASET)
            DatasetCatalog.pop(_DATASET)


def write_slices(folder: Path, count: int) -> Path:
    """Write slices and their image list; the same count gives the same files.

    Drawn slices are reused, shifted by a few pixels, so that no two files are alike.

    Args:
        folder: created if needed; if it has a list of `count` slices, nothing is written.
        count: of slices.

    Returns:
        The list (CSV).

    Raises:
        ValueError: the folder has a list of another length.
    """
    path = folder / SLICE_LIST
    if path.is_file():
        found = len(path.read_text().splitlines()) - 1
        if found != count:
            raise ValueError(f"{path} lists {found} slices, not {count}: name another --folder")
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_THREADS) as pool:
        drawn = pool.map(_draw, range(-(-min(count, _DRAWN) // _PER_PATIENT)))
        bar = tqdm(drawn, "draw phantoms", unit="patient", disable=None)
        slices = [pixels for patient in bar for pixels in patient]
        written = pool.map(lambda task: _write(folder, *task), _shifted(slices, count))
        records = list(tqdm(written, "write slices", count, unit="slice", disable=None))
    write_image_list(records, IMAGE_CLASSES, path)
    return path


def _draw(index: int) -> list[np.ndarray]:
    patient = draw_patient(0, index, index % len(IMAGE_CLASSES))
    numbers = slice_numbers(patient, _PER_PATIENT)
    return [window(draw_slice(patient, number, SIDE)[0]) for number in numbers]


def _shifted(slices: list[np.ndarray], count: int) -> Iterator[tuple[int, np.ndarray, int]]:
    """Number, pixels and shift of each file."""
    for i, pixels in zip(range(count), itertools.cycle(slices), strict=False):
        yield i, pixels, i // len(slices)


def _write(folder: Path, number: int, pixels: np.ndarray, shift: int) -> dict:
    moved = np.roll(pixels, (shift % 16, shift // 16), axis=(0, 1))
    path = folder / f"{number:05d}.png"
    rgb = cv2.cvtColor(moved, cv2.COLOR_GRAY2BGR)
    if not cv2.imwrite(str(path), rgb, (cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION)):
        raise OSError(f"{path}: could not be written")
    patient = f"P{number // 100:04d}"
    return {
        "file_name": str(path),
        "label": number % len(IMAGE_CLASSES),
        "patient": patient,
        "scan": f"{patient}_S1",
    }
