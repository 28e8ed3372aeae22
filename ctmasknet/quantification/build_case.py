"""An input -> its Case: read, predicted, measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.images import read_slice
from ..data.window import LUNG, Window
from ..errors import ErrorPolicy, collecting
from ..inference.inputs import Input
from ..inference.predictions import ScanPrediction, SlicePrediction
from ..inference.predictor import Predictor, slice_bar
from ..volumes.volume import Volume
from ..wording import counted, number_ranges
from .case import Case
from .domes import without_domes
from .lung_rules import DOMES, LUNG_LESIONS, LUNG_SLICES, RULES, cut_to_lung
from .lung_source import LungSource
from .quantify import Quantities, join, quantify

_NO_AREAS = (
    "No areas and no share of the lung: this model gives boxes without masks; --lesion-model takes "
    "the lesions from a model with masks."
)
_NOT_LOOKED_FOR = "No share of the lung: it was not looked for (--no-lung)."


@dataclass(frozen=True)
class QuantificationOptions:
    """How inputs are read and measured."""

    window: Window = LUNG  # of HU, and what 8-bit images are taken to have
    lung: LungSource = LungSource()
    series: str | None = None  # SeriesInstanceUID to take of a zip with several
    rules: frozenset[str] = frozenset(RULES)  # names of RULES that are on


def read_scan(source: Input, options: QuantificationOptions) -> tuple[Volume, ErrorPolicy]:
    """Read a scan; return it with what was wrong or is to be known. Errors as `build_case`."""
    errors = collecting()
    return source.read(options.window, options.series, errors), errors


def build_case(
    predictor: Predictor,
    source: Input,
    options: QuantificationOptions,
    about: dict[str, Any],
    read: Callable[[Input], tuple[Volume, ErrorPolicy]] | None = None,
) -> Case:
    """Read, predict and measure an input; a bar shows the remaining time.

    Args:
        about: as in Case.
        read: gives what `read_scan` would of the scan.

    Raises a FileNotFoundError or ValueError if nothing of the input, or not the lung mask given for
    a scan, can be used; a NotFiniteError if a slice gives NaN or infinity.
    """
    errors = collecting()
    volume = scan = None
    if source.is_scan:
        volume, errors = read(source) if read else read_scan(source, options)
        scan, quantities, notes = _measured_scan(predictor, volume, source.name, options)
        slices = scan.slices
    else:
        slices, quantities, notes = _measured_slices(predictor, source, options, errors)
    return Case(
        name=source.name,
        source=str(source.path),
        slices=slices,
        scan=scan,
        volume=volume,
        quantities=quantities,
        about=about,
        notes=(*errors.messages, *errors.notes, *notes),
        problems=tuple(errors.messages),
    )


def _no_lung(predictor: Predictor, options: QuantificationOptions) -> list[str]:
    """Say why no lung is wanted; empty if one is."""
    if not predictor.has_masks:
        return [_NO_AREAS]
    return [] if options.lung else [_NOT_LOOKED_FOR]


def _measured_scan(
    predictor: Predictor, volume: Volume, name: str, options: QuantificationOptions
) -> tuple[ScanPrediction, Quantities, list[str]]:
    """Predict and measure a scan; return its prediction, its quantities and notes."""
    lung, no_lung = None, _no_lung(predictor, options)
    if options.lung:
        try:
            lung = options.lung.of_scan(name, volume)
        except ValueError as error:
            if options.lung.path:  # a mask that was given must be of use
                raise
            no_lung.append(f"No share of the lung, and all slices are searched: {error}")
    scan = predictor.predict_volume(
        volume,
        progress=True,
        lung=lung,
        search_lung=not options.lung,  # it was
        without_lung=not options.lung or LUNG_SLICES not in options.rules,
    )
    notes = [*_geometry(volume), *no_lung, *_not_searched(scan.slices)]
    notes += _seen_whole(predictor, scan.slices)
    if not predictor.has_masks:
        lung = None
    found = lung
    if lung is not None and LUNG_LESIONS in options.rules:
        slices, lung, left_out = cut_to_lung(scan.slices, lung)
        scan, notes = replace(scan, slices=slices), [*notes, *left_out]
    if found is not None and DOMES in options.rules:
        slices, domes = without_domes(scan.slices, found)
        scan, notes = replace(scan, slices=slices), [*notes, *domes]
    hu = volume.hu if volume.windowed is None else None
    quantities = quantify(scan.slices, scan.spacing, lung=lung, hu=hu)
    return scan, quantities, [*notes, *_outside_lung(quantities)]


def _seen_whole(predictor: Predictor, slices: Sequence[SlicePrediction]) -> list[str]:
    """Say of how many slices the lesion model saw all, although it sees but a part."""
    kind = predictor.models.fields_of_view.lesions.kind
    whole = sum(found.searched and found.field is None for found in slices)
    if kind == "image" or not whole:
        return []
    seen = f"The model sees the {kind}, but {counted(whole, 'slice')} whole"
    return [f"{seen}: cropped to it already, or it was not found."]


def _not_searched(slices: Sequence[SlicePrediction]) -> list[str]:
    """List the slices of a scan in which nothing was looked for."""
    left_out = [index for index, found in enumerate(slices) if not found.searched]
    if not left_out:
        return []
    which = number_ranges(left_out)
    return [
        f"No lung on {counted(len(left_out), 'slice')} of {len(slices)} ({which}): not searched, "
        "not classified."
    ]


def _geometry(volume: Volume) -> list[str]:
    """Say what is not known of a scan's geometry or values."""
    notes = []
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
    return notes


def _outside_lung(quantities: Quantities) -> list[str]:
    """Say what a share of the lung leaves out."""
    if quantities.lung_lesion_px is None or quantities.areas_px is None:
        return []
    found, inside = quantities.areas_px[:, -1].sum(), quantities.lung_lesion_px[:, -1].sum()
    if inside == found:
        return []
    share = 1 - inside / found
    return [f"{share:.1%} of the lesion area lies outside the lung and is no part of its share."]


def _measured_slices(
    predictor: Predictor, source: Input, options: QuantificationOptions, errors: ErrorPolicy
) -> tuple[tuple[SlicePrediction, ...], Quantities, list[str]]:
    """Do the same for a set of slices; leave out and note those that cannot be used."""
    notes = _no_lung(predictor, options)
    wants_lung = not notes
    slices: list[SlicePrediction] = []
    parts: list[Quantities] = []
    found = predictor.predict_slices(_read_all(source.files, errors))
    for prediction in slice_bar(found, source.name, len(source.files)):
        lung, path = None, Path(prediction.source)
        try:
            if wants_lung:
                image = read_slice(path)  # again: the predictor keeps none
                lung = options.lung.of_slice(path.stem, image, options.window)
        except (FileNotFoundError, ValueError) as error:
            notes.append(f"{path.name}: no share of the lung: {error}")
            if options.lung.path:  # a mask that was given is a problem, too
                errors.handle(error)
        if lung is not None and LUNG_LESIONS in options.rules:
            (prediction,), lung, left_out = cut_to_lung([prediction], lung)
            notes += [f"{path.name}: {note}" for note in left_out]
        slices.append(prediction)
        parts.append(quantify([prediction], lung=lung))
    if not slices:
        raise ValueError(
            f"{source.path}: no usable slice among {len(source.files)}; the first: {errors.first}"
        )
    return tuple(slices), join(parts), [*notes, *_seen_whole(predictor, slices)]


def _read_all(files: tuple[Path, ...], errors: ErrorPolicy) -> Iterator[tuple[np.ndarray, str]]:
    for path in files:
        try:
            yield read_slice(path), str(path)
        except (FileNotFoundError, ValueError) as error:
            errors.handle(error)
