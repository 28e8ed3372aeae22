"""A DICOM series -> a Volume. Nothing is guessed: what is unusual is refused, or noted.

Slices are ordered by their position along the normal, not by file name or InstanceNumber.
"""

import math
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..errors import ErrorPolicy
from ..limits import SCAN, check_limit
from . import sitk
from .dicom_grouping import choose_series, slice_step, tilt_problem, usable_slices
from .dicom_headers import SliceHeader, read_headers
from .formats import ReadOptions
from .volume import Volume, hu_problem, upright_volume

# SimpleITK decodes without Python's lock: two threads on two cores save a third of the time
# (tools/benchmark_volumes.py --series).
_THREADS = min(8, os.cpu_count() or 1)
_BEYOND_INT16 = "beyond int16"


def read_dicom(files: Iterable[Path], source: Path, options: ReadOptions) -> Volume:
    """Read one CT series from DICOM files (see `dicom_among`) in any order.

    The HU are int16, or float32 if they are not whole or exceed int16; reading takes little more
    memory than they do. If errors are collected, the largest series is taken, unusable files are
    left out, and gaps, uneven steps and tilt are accepted; values that cannot be HU never are.
    """
    errors = options.errors
    headers = choose_series(read_headers(files, errors), source, options.series, errors)
    hu, headers = _decode(usable_slices(headers, source, errors), source, errors)
    if not headers:
        reasons = f" (the first reason: {errors.first})" if errors.first else ""
        raise ValueError(f"{source}: found no usable CT slice, expected a CT series{reasons}")
    if values := hu_problem(hu):
        raise ValueError(
            f"{source}: {values}: RescaleSlope and RescaleIntercept are not those of HU; use "
            "the original series, or set the tags if you know the scanner's values"
        )
    if tilt := tilt_problem(headers):
        errors.handle(f"{source}: {tilt}")
    first, noted = headers[0], len(errors.messages)
    step = slice_step(headers, source, errors)
    return upright_volume(
        hu,
        (step, *first.spacing),
        tuple(first.position),
        first.axes,
        source,
        slice_files=[str(header.path) for header in headers],
        patient=first.identifiers.get("PatientID", ""),
        scan=first.series,
        identifiers=first.identifiers,
        even=len(errors.messages) == noted,
        errors=errors,
    )


def _decode(
    headers: list[SliceHeader], source: Path, errors: ErrorPolicy
) -> tuple[np.ndarray, list[SliceHeader]]:
    """Return the pixels (Z, Y, X) of the files that can be decoded, and their headers."""
    if not headers:
        return np.empty((0, 0, 0), np.int16), []
    check_limit(source, len(headers) * math.prod(headers[0].shape), SCAN)
    hu, failures = _decode_as(np.int16, headers)
    if _BEYOND_INT16 in failures:
        del hu
        hu, failures = _decode_as(np.float32, headers)
    kept: list[SliceHeader] = []
    for index, (header, failure) in enumerate(zip(headers, failures, strict=True)):
        if failure:
            errors.handle(
                f"{header.path}: cannot be decoded ({failure}, {header.path.stat().st_size} "
                "bytes): truncated or damaged; copy it again or remove it"
            )
            continue
        if len(kept) < index:  # closes up in place, without a second volume
            hu[len(kept)] = hu[index]
        kept.append(header)
    return hu[: len(kept)], kept


def _decode_as(dtype: type, headers: list[SliceHeader]) -> tuple[np.ndarray, list[str]]:
    hu: np.ndarray = np.empty((len(headers), *headers[0].shape), dtype)
    with ThreadPoolExecutor(_THREADS) as pool:
        return hu, list(pool.map(_decode_slice, headers, hu))


def _decode_slice(header: SliceHeader, out: np.ndarray) -> str:
    """Decode into `out`; return why that fails, or ""."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(header.path))
    try:
        image = reader.Execute()  # has applied RescaleSlope and RescaleIntercept
    except RuntimeError as error:
        return str(error).strip().splitlines()[-1].split("): ")[-1] or "no reason given"
    pixels = sitk.GetArrayViewFromImage(image)  # valid only as long as `image`
    if pixels.shape != (1, *out.shape):
        return f"decoded to an array of {pixels.shape}"
    with np.errstate(invalid="ignore"):  # what does not fit is found below
        np.copyto(out, pixels[0], casting="unsafe")
    exact = out.dtype == np.float32 or np.array_equal(out, pixels[0])
    return "" if exact else _BEYOND_INT16
