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

from ..data.images import IMAGE_SUFFIXES, read_slice
from ..errors import ErrorPolicy, collecting
from ..inference.inputs import Input
from ..inference.predictions import SlicePrediction
from ..inference.predictor import Predictor
from ..report.key_slices import choose
from ..volumes.sitk_files import VOLUME_SUFFIXES
from ..volumes.volume import Volume
from ..volumes.window import LUNG, Window
from .case import Case, KeySlice
from .lung import LungMask, find_lung
from .lung_files import read_lung_image, read_lung_mask
from .quantify import Quantities, join, quantify

_NO_AREAS = (
    "No areas and no share of the lung: this model gives boxes without masks; --lesion-model takes "
    "the lesions from a model with masks."
)
_NOT_LOOKED_FOR = "No share of the lung: it was not looked for (--no-lung)."


@dataclass(frozen=True)
class Measuring:
    """How inputs are read and measured.

    Attributes:
        window: of HU, and what 8-bit images are taken to have.
        lung: whether to look for the lung where no mask is given.
        lung_mask: a mask file, or a folder with a mask for each scan or slice, of its name.
        series: SeriesInstanceUID to take of a zip with several.
    """

    window: Window = LUNG
    lung: bool = True
    lung_mask: Path | None = None
    series: str | None = None

    def mask_of(self, name: str, is_scan: bool) -> Path | None:
        """The file of the lung mask given for a scan or slice.

        Raises:
            FileNotFoundError: there is none in the folder of masks.
            ValueError: there are several.
        """
        if self.lung_mask is None or not self.lung_mask.is_dir():
            return self.lung_mask
        suffixes = VOLUME_SUFFIXES if is_scan else IMAGE_SUFFIXES
        wanted = {f"{name}{suffix}" for suffix in suffixes}
        found = sorted(path for path in self.lung_mask.iterdir() if path.name in wanted)
        if not found:
            raise FileNotFoundError(
                f"{self.lung_mask}: holds no lung mask called {name}, with one of "
                f"{', '.join(suffixes)}"
            )
        if len(found) > 1:
            raise ValueError(
                f"{self.lung_mask}: holds {found[0].name} and {found[1].name}, expected one lung "
                f"mask called {name}"
            )
        return found[0]

    def masks(self, source: Input) -> list[Path]:
        """All files of lung masks given for an input; errors as `mask_of`."""
        named = [source.name] if source.is_scan else [path.stem for path in source.files]
        masks = (self.mask_of(name, source.is_scan) for name in named)
        return [path for path in masks if path is not None]


def build_case(
    predictor: Predictor, source: Input, measuring: Measuring, about: dict[str, Any], bar: bool
) -> Case:
    """Read, predict and measure an input.

    Args:
        predictor: the model.
        source: the input.
        measuring: how.
        about: see `Case`.
        bar: whether to show a bar with the remaining time.

    Raises:
        FileNotFoundError, ValueError: nothing of the input can be used, or not the lung mask that
            was given for a scan.
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
) -> Case:
    errors = collecting()
    volume = source.read(measuring.window, measuring.series, errors)
    notes = list(errors.messages)
    if not volume.measured:
        notes.append(
            "Images do not tell the size of their pixels: areas are in pixels, without volumes. "
            "The order of their names is taken to go from feet to head."
        )
    elif volume.windowed is not None:
        notes.append(f"8-bit values, taken to have the window {volume.windowed}.")
    if not volume.even:
        notes.append(
            f"Slices are missing or their steps differ: places in mm, volumes and the NIfTI mask "
            f"take all steps as {volume.spacing[0]:.4g} mm; a DICOM SEG has the true places."
        )
    lung, note = None, [_NO_AREAS]
    if predictor.has_masks:
        lung, note = _scan_lung(volume, source.name, measuring)
    scan = predictor.predict_volume(volume, measuring.window, progress=bar)
    quantities = quantify(scan.slices, scan.spacing, lung=lung)
    return Case(
        name=source.name,
        source=str(source.path),
        slices=scan.slices,
        scan=scan,
        volume=volume,
        quantities=quantities,
        about=about,
        notes=(*notes, *note, *_outside_lung(quantities)),
        problems=tuple(errors.messages),
    )


def _outside_lung(quantities: Quantities) -> list[str]:
    """What a share of the lung leaves out."""
    if quantities.lung_lesion_px is None or quantities.areas_px is None:
        return []
    found, inside = quantities.areas_px[:, -1].sum(), quantities.lung_lesion_px[:, -1].sum()
    if inside == found:
        return []
    share = 1 - inside / found
    return [f"{share:.1%} of the lesion area lies outside the lung and is no part of its share."]


def _scan_lung(
    volume: Volume, name: str, measuring: Measuring
) -> tuple[LungMask | None, list[str]]:
    """The lung, or why there is none."""
    mask = measuring.mask_of(name, is_scan=True)
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
) -> Case:
    errors = collecting()
    found = predictor.predict_slices(_read_all(source.files, errors))
    slices: list[SlicePrediction] = []
    measured: list[Quantities] = []
    notes = [] if measuring.lung or measuring.lung_mask else [_NOT_LOOKED_FOR]
    if not predictor.has_masks:
        notes = [_NO_AREAS]
    for prediction in tqdm(
        found,
        desc=source.name[:24],
        total=len(source.files),
        unit="slice",
        mininterval=1,
        leave=False,
        disable=not bar,
    ):
        lung = None
        try:
            if predictor.has_masks:
                lung = _slice_lung(Path(prediction.source), measuring)
        except (FileNotFoundError, ValueError) as error:
            notes.append(f"{Path(prediction.source).name}: no share of the lung: {error}")
            if measuring.lung_mask:  # a mask that was given is to be told of
                errors.handle(error)
        slices.append(prediction)
        measured.append(quantify([prediction], is_scan=False, lung=lung))
    if not slices:
        raise ValueError(
            f"{source.path}: no usable slice among {len(source.files)}; the first: {errors.first}"
        )
    return Case(
        name=source.name,
        source=str(source.path),
        slices=tuple(slices),
        scan=None,
        volume=None,
        quantities=join(measured),
        about=about,
        notes=(*errors.messages, *notes),
        problems=tuple(errors.messages),
    )


def _read_all(files: tuple[Path, ...], errors: ErrorPolicy) -> Iterator[tuple[np.ndarray, str]]:
    for path in files:
        try:
            yield read_slice(path), str(path)
        except (FileNotFoundError, ValueError) as error:
            errors.handle(error)


def _slice_lung(path: Path, measuring: Measuring) -> LungMask | None:
    mask = measuring.mask_of(path.stem, is_scan=False)
    if mask is None and not measuring.lung:
        return None
    image = read_slice(path)  # again: the predictor keeps none
    if mask is not None:
        return read_lung_image(mask, image.shape[:2])
    return find_lung(measuring.window.to_hu(image[..., 1])[np.newaxis], None)
