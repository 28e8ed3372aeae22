"""A DICOM series -> a Volume. Nothing is guessed: what is unusual is refused, or noted.

Z, Y, X: slices in the order of their positions along the normal, rows, columns. Neither file names
nor InstanceNumber decide the order.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import RAISE, ErrorPolicy
from .dicom_geometry import slice_step, tilt_problem
from .dicom_headers import SliceHeader, read_headers
from .volume import Volume, hu_problem, upright_volume

# SimpleITK decodes without Python's lock: two threads on two cores save a third of the time
# (tools/benchmark_volumes.py --series).
_THREADS = min(8, os.cpu_count() or 1)


def read_dicom(
    files: Iterable[Path],
    source: Path,
    *,
    series: str | None = None,
    errors: ErrorPolicy = RAISE,
) -> Volume:
    """Read one CT series.

    Args:
        files: DICOM files (see `dicom_among`), in any order.
        source: the folder or file to name in messages.
        series: SeriesInstanceUID to take; needed if there are several.
        errors: where they are collected, files that cannot be used are left out, the largest CT
            series is taken, and gaps, uneven steps, tilt and values that cannot be HU are accepted.

    Returns:
        int16, or float32 if the HU are not whole or beyond int16. The memory needed is that of
        the volume and little more.

    Raises:
        ValueError: what is wrong with which file or folder, and what to do.
    """
    headers = _choose_series(read_headers(files, errors), source, series, errors)
    usable = []
    for header in headers:
        if header.problem:
            errors.handle(ValueError(f"{header.path}: {header.problem}"))
        else:
            usable.append(header)
    for what, key in _ALIKE.items():
        usable = _keep_majority(usable, what, key, errors)
    usable = _without_duplicates(sorted(usable, key=lambda header: header.height), errors)
    hu, usable = _decode(usable, errors)
    if not usable:
        reasons = f" (the first reason: {errors.first})" if errors.first else ""
        raise ValueError(f"{source}: found no usable CT slice, expected a CT series{reasons}")
    values = hu_problem(hu)
    if values:
        error = ValueError(
            f"{source}: {values}: RescaleSlope and RescaleIntercept are not those of HU; use the "
            "original series, or set the tags if you know the scanner's values"
        )
        errors.handle(error)
    tilt = tilt_problem(usable)
    if tilt:
        errors.handle(ValueError(f"{source}: {tilt}"))
    first, noted = usable[0], len(errors.messages)
    step = slice_step(usable, source, errors)
    return upright_volume(
        hu,
        (step, *first.spacing),
        tuple(first.position),
        first.axes,
        source,
        slice_files=[str(header.path) for header in usable],
        patient=first.identifiers.get("PatientID", ""),
        scan=first.series,
        identifiers=first.identifiers,
        even=len(errors.messages) == noted,
        errors=errors,
    )


def _choose_series(
    headers: list[SliceHeader], source: Path, series: str | None, errors: ErrorPolicy
) -> list[SliceHeader]:
    groups: dict[str, list[SliceHeader]] = {}
    for header in headers:
        groups.setdefault(header.series, []).append(header)
    listing = "; ".join(_describe(uid, group) for uid, group in groups.items())
    if series is not None:
        if series not in groups:
            raise ValueError(f"{source}: no series {series}, found {listing or 'none'}")
        return groups[series]
    if len(groups) > 1:
        for header in groups.pop("", []):
            error = ValueError(
                f"{header.path}: found no SeriesInstanceUID, unlike in the other files: damaged, "
                "or no image; copy it again or remove it"
            )
            errors.handle(error)
    if len(groups) <= 1:
        return [header for group in groups.values() for header in group]
    usable = {uid: sum(not h.problem for h in group) for uid, group in groups.items()}
    largest = max(groups, key=lambda uid: (usable[uid], len(groups[uid])))
    error = ValueError(
        f"{source}: found {len(groups)} series, expected one: {listing}; choose one by its "
        "SeriesInstanceUID (--series)"
    )
    errors.handle(error, f"took {_describe(largest, groups[largest])}")
    return groups[largest]


def _describe(uid: str, group: list[SliceHeader]) -> str:
    first = group[0]
    kind = first.identifiers.get("Modality", "no modality")
    kind += " localiser" if first.localiser else ""
    description = first.identifiers.get("SeriesDescription", "no description")
    return f"{uid or 'no UID'} ({kind}, '{description}', {len(group)} files)"


# Reported as: what it is called -> the key that all slices of a volume share.
_ALIKE: dict[str, Callable[[SliceHeader], Hashable]] = {
    "patient": lambda header: header.identifiers.get("PatientID", ""),
    "size (rows, columns)": lambda header: header.shape,
    "pixel spacing (mm)": lambda header: tuple(round(value, 4) for value in header.spacing),
    "orientation (cosines)": lambda header: tuple(
        float(value) for value in np.round(header.axes[:, :2].T.ravel(), 2) + 0.0
    ),
}


def _keep_majority(
    headers: list[SliceHeader],
    what: str,
    key: Callable[[SliceHeader], Hashable],
    errors: ErrorPolicy,
) -> list[SliceHeader]:
    counts = Counter(key(header) for header in headers)
    if len(counts) < 2:
        return headers
    common, count = counts.most_common(1)[0]
    for header in headers:
        if key(header) != common:
            error = ValueError(
                f"{header.path}: found the {what} {key(header)!r}, expected {common!r} as in "
                f"{count} of the series' {len(headers)} files: remove the files that differ"
            )
            errors.handle(error)
    return [header for header in headers if key(header) == common]


def _without_duplicates(headers: list[SliceHeader], errors: ErrorPolicy) -> list[SliceHeader]:
    kept: list[SliceHeader] = []
    for header in headers:
        if kept and header.height - kept[-1].height < 0.01:
            error = ValueError(
                f"{header.path}: found a second slice at {header.height:.2f} mm, where "
                f"{kept[-1].path} already is (a copy, or another phase of the scan): keep one of "
                "the two in the folder"
            )
            errors.handle(error)
        else:
            kept.append(header)
    return kept


def _decode(
    headers: list[SliceHeader], errors: ErrorPolicy
) -> tuple[np.ndarray, list[SliceHeader]]:
    """The (Z, Y, X) pixels of those files that can be decoded, and their headers."""
    if not headers:
        return np.empty((0, 0, 0), np.int16), []
    hu, failures = _decode_as(np.int16, headers)
    if OverflowError in failures:
        del hu
        hu, failures = _decode_as(np.float32, headers)
    good = [index for index, failure in enumerate(failures) if failure is None]
    for header, failure in zip(headers, failures, strict=True):
        if failure is not None:
            error = ValueError(
                f"{header.path}: cannot be decoded ({failure}, {header.path.stat().st_size} "
                "bytes): truncated or damaged; copy it again or remove it"
            )
            errors.handle(error)
    for place, index in enumerate(good):  # closes up in place, without a second volume
        if place != index:
            hu[place] = hu[index]
    return hu[: len(good)], [headers[index] for index in good]


_Failure = str | type[OverflowError] | None


def _decode_as(dtype: type, headers: list[SliceHeader]) -> tuple[np.ndarray, list[_Failure]]:
    hu: np.ndarray = np.empty((len(headers), *headers[0].shape), dtype)
    with ThreadPoolExecutor(_THREADS) as pool:
        return hu, list(pool.map(_decode_slice, headers, hu))


def _decode_slice(header: SliceHeader, out: np.ndarray) -> _Failure:
    """Decode into `out`; OverflowError if int16 cannot hold the values, text if decoding fails."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(header.path))
    try:
        image = reader.Execute()  # has applied RescaleSlope and RescaleIntercept
    except RuntimeError as error:
        return str(error).strip().splitlines()[-1].split("): ")[-1]
    pixels = sitk.GetArrayViewFromImage(image)  # valid only as long as `image`
    if pixels.shape != (1, *out.shape):
        return f"decoded to an array of {pixels.shape}"
    with np.errstate(invalid="ignore"):  # what does not fit is found below
        np.copyto(out, pixels[0], casting="unsafe")
    return None if out.dtype == np.float32 or np.array_equal(out, pixels[0]) else OverflowError
