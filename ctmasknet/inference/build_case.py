"""An input -> its Case: read, predicted, measured.

Shapes: slices of H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..data.images import read_slice
from ..data.sitk_files import volume_suffix
from ..data.volume import Volume
from ..data.window import LUNG, Window
from .case import Case, KeySlice
from .inputs import Input
from .key_slices import choose
from .lung import LungMask, find_lung
from .lung_files import read_lung_image, read_lung_mask
from .predictions import SlicePrediction
from .predictor import Predictor
from .quantify import Quantities, join, quantify

_NOT_LOOKED_FOR = "No share of the lung: it was not looked for (--no-lung)."


@dataclass(frozen=True)
class Measuring:
    """How inputs are read and measured.

    Attributes:
        window: of HU, and what 8-bit images are taken to have.
        lung: whether to look for the lung where no mask is given.
        lung_mask: a mask file, or a folder with a mask for each scan or slice, of its name.
    """

    window: Window = LUNG
    lung: bool = True
    lung_mask: Path | None = None

    def mask_of(self, name: str) -> Path | None:
        """The file of the lung mask given for a scan or slice.

        Raises:
            FileNotFoundError: there is none in the folder of masks.
        """
        if self.lung_mask is None or not self.lung_mask.is_dir():
            return self.lung_mask
        for path in sorted(self.lung_mask.iterdir()):
            suffix = volume_suffix(path) or path.suffix
            if suffix in ("", path.name) or path.name[: -len(suffix)] != name:
                continue
            return path
        raise FileNotFoundError(f"{self.lung_mask}: holds no lung mask called {name}")


def build_case(
    predictor: Predictor, source: Input, measuring: Measuring, about: dict[str, Any], bar: bool
) -> tuple[Case, list[str]]:
    """Read, predict and measure an input.

    Args:
        predictor: the model.
        source: the input.
        measuring: how.
        about: see `Case`.
        bar: whether to show a bar with the remaining time.

    Returns:
        The case, and what could not be used of its input, a line each.

    Raises:
        FileNotFoundError, ValueError: nothing of the input can be used, or the lung mask given.
        NotFiniteError: a slice gives NaN or infinity.
    """
    if source.is_scan:
        return _scan(predictor, source, measuring, about, bar)
    return _slices(predictor, source, measuring, about, bar)


def key_slices(predictor: Predictor, case: Case, window: Window) -> list[KeySlice]:
    """The slices of a case that its report shows, read and predicted again for their score maps."""
    found = []
    for index in tqdm(choose(case), f"{case.name[:24]}: key slices", unit="slice", leave=False):
        if case.volume is not None:
            image = case.volume.slice(index, window)
        else:
            image = read_slice(case.slices[index].source)
        found.append(KeySlice(index, image, predictor.score_map(image)))
    return found


def _scan(
    predictor: Predictor, source: Input, measuring: Measuring, about: dict[str, Any], bar: bool
) -> tuple[Case, list[str]]:
    skipped: list[str] = []
    volume = source.read(measuring.window, skipped)
    scan = predictor.predict(volume, measuring.window, progress=bar)
    notes = list(skipped)
    if not volume.measured:
        notes.append(
            "Images do not tell the size of their pixels: areas are in pixels, without volumes."
        )
    lung, note = _scan_lung(volume, source.name, measuring)
    case = Case(
        name=source.name,
        source=str(source.path),
        slices=scan.slices,  # type: ignore[union-attr]
        scan=scan,  # type: ignore[arg-type]
        volume=volume,
        quantities=quantify(scan.slices, scan.spacing, lung=lung),  # type: ignore[union-attr]
        about=about,
        notes=(*notes, *note),
    )
    return case, skipped


def _scan_lung(
    volume: Volume, name: str, measuring: Measuring
) -> tuple[LungMask | None, list[str]]:
    """The lung, or why there is none."""
    mask = measuring.mask_of(name)
    if mask is not None:
        return read_lung_mask(mask, volume), []
    if not measuring.lung:
        return None, [_NOT_LOOKED_FOR]
    try:
        return find_lung(volume.hu, volume.spacing if volume.measured else None), []
    except ValueError as error:
        return None, [f"No share of the lung: {error}"]


def _slices(
    predictor: Predictor, source: Input, measuring: Measuring, about: dict[str, Any], bar: bool
) -> tuple[Case, list[str]]:
    skipped: list[str] = []
    found = predictor.predict_slices(_read_all(source.files, skipped))
    slices: list[SlicePrediction] = []
    measured: list[Quantities] = []
    wanted = measuring.lung or measuring.lung_mask
    notes = [] if wanted else [_NOT_LOOKED_FOR]
    for prediction in tqdm(
        found,
        desc=source.name[:24],
        total=len(source.files),
        unit="slice",
        mininterval=1,
        leave=False,
        disable=not bar,
    ):
        lung, note = _slice_lung(Path(prediction.source), measuring)
        slices.append(prediction)
        measured.append(quantify([prediction], is_scan=False, lung=lung))
        notes += note
    if not slices:
        raise ValueError(
            f"{source.path}: no usable slice among {len(source.files)}; the first: {skipped[0]}"
        )
    case = Case(
        name=source.name,
        source=str(source.path),
        slices=tuple(slices),
        scan=None,
        volume=None,
        quantities=join(measured),
        about=about,
        notes=(*skipped, *notes),
    )
    return case, skipped


def _read_all(files: tuple[Path, ...], skipped: list[str]) -> Iterator[tuple[np.ndarray, str]]:
    for path in files:
        try:
            yield read_slice(path), str(path)
        except (FileNotFoundError, ValueError) as error:
            skipped.append(str(error))


def _slice_lung(path: Path, measuring: Measuring) -> tuple[LungMask | None, list[str]]:
    mask = measuring.mask_of(path.stem)
    if mask is None and not measuring.lung:
        return None, []
    image = read_slice(path)  # again: the predictor keeps none
    if mask is not None:
        return read_lung_image(mask, image.shape[:2]), []
    try:
        hu = measuring.window.to_hu(image[..., 1])
        return find_lung(hu[np.newaxis], None), []
    except ValueError as error:
        return None, [f"{path.name}: no share of the lung: {error}"]
