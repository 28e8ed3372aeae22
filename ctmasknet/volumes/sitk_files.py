"""NIfTI, MetaImage and NRRD <-> Volume, by SimpleITK.

SimpleITK turns each format's geometry into LPS and applies NIfTI's slope and intercept itself. An
int16 volume of 512 x 512 x 1000 takes 1.0 (MetaImage, NRRD; compressed MetaImage 1.6) or 1.4
(NIfTI) times its own size while it is read. Of other types the peak is at most that of the file's
pixels and of the volume together: int32 or float64 takes 3 times the int16 or float32 that it
becomes, as NRRD or compressed MetaImage, and 1.6 times as MetaImage that is not
(tools/benchmark_volumes.py).
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..atomic_write import atomic_write
from ..data.images import require_readable, what_else_it_is
from ..errors import RAISE, ErrorPolicy
from .metaimage_header import check_pixels
from .nifti_bytes import not_finite, unpacked
from .volume import Volume, hu_problem, upright_volume
from .window import LUNG, Window, say_windowed_once

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")
WRITABLE_SUFFIXES = (".nii", ".nii.gz", ".mha", ".nrrd")

_AIR = -1024
_PARTS = 8
_KEPT_TYPES = (sitk.sitkInt16, sitk.sitkFloat32, sitk.sitkUInt8)

# ITK prints its warnings to stderr, with addresses in memory; what matters is said by our errors.
sitk.ProcessObject.SetGlobalWarningDisplay(False)


def volume_suffix(path: Path) -> str:
    """The one of VOLUME_SUFFIXES that a name has; "" if it has none."""
    found = [suffix for suffix in VOLUME_SUFFIXES if path.name.lower().endswith(suffix)]
    return max(found, key=len, default="")


def read_sitk(path: Path, *, window: Window | None = None, errors: ErrorPolicy = RAISE) -> Volume:
    """Read a volume in HU, or an 8-bit one that has a window.

    Args:
        path: a file with one of VOLUME_SUFFIXES.
        window: that an 8-bit file is taken to have; None is the papers' ("lung").
        errors: of an unknown orientation, and of values that are not
            numbers, which become air.

    Returns:
        int16 if the file has integers that fit, else float32.

    Raises:
        ValueError: the file cannot be read, has other than three dimensions, or no HU.
    """
    require_readable(path)
    bad = None
    if ".nii" in volume_suffix(path):
        with unpacked(path) as plain:
            stored, image = _read_image(plain, path, errors)
            bad = not_finite(plain, path)
    else:
        stored, image = _read_image(path, path, errors)
    windowed = None
    if stored.dtype == np.uint8:
        windowed = window or LUNG
        say_windowed_once(windowed)
        hu = windowed.to_hu(stored)
    else:
        hu = _as_hu(stored, bad, path, errors)
    return upright_volume(
        hu,
        image.GetSpacing()[::-1],
        image.GetOrigin(),
        np.array(image.GetDirection()).reshape(3, 3),
        path,
        windowed=windowed,
        errors=errors,
    )


def write_volume(volume: Volume, path: str | os.PathLike) -> None:
    """Write a volume as NIfTI, MHA or NRRD, whole or not at all.

    HU are written as they are, in int16 or float32; 8-bit input as its grey values again, in
    uint8, since it has no HU of its own.

    Args:
        path: ends with one of WRITABLE_SUFFIXES; an existing file is replaced.

    Raises:
        ValueError: another suffix, or SimpleITK cannot write it.
    """
    path = Path(path)
    if volume_suffix(path) not in WRITABLE_SUFFIXES:
        raise ValueError(f"{path}: expected a name with one of {', '.join(WRITABLE_SUFFIXES)}")
    values = volume.windowed.to_uint8(volume.hu) if volume.windowed else volume.hu
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(volume.spacing[::-1])
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction.ravel().tolist())
    try:
        with atomic_write(path) as partial:
            sitk.WriteImage(image, str(partial), useCompression=path.suffix in (".gz", ".nrrd"))
    except RuntimeError as error:
        raise ValueError(f"{path}: cannot be written ({_reason(error)})") from None


def _read_image(file: Path, path: Path, errors: ErrorPolicy) -> tuple[np.ndarray, sitk.Image]:
    """The stored pixels (K, J, I), perhaps read-only, and an image with their geometry.

    Args:
        file: to read: `path` itself, or what was unpacked of it.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    suffix = volume_suffix(path)
    try:
        reader.ReadImageInformation()
        _check_header(path, reader, errors)
        # ITK holds a NIfTI file twice if it reads it whole; it cannot read NRRD in parts. MetaImage
        # needs parts only where the type changes: the others are used as ITK holds them.
        parts = _PARTS if ".nii" in suffix else 1
        if suffix in (".mha", ".mhd"):
            in_parts = check_pixels(path, _size_of(reader))
            parts = _PARTS if in_parts and reader.GetPixelID() not in _KEPT_TYPES else 1
        return _read_parts(reader, parts)
    except RuntimeError as error:
        found = what_else_it_is(file)
        if not found:
            said = _reason(error).replace(str(file), str(path))
            found = f"{said}, {path.stat().st_size} bytes"
        raise ValueError(
            f"{path}: cannot be read as {suffix} ({found}): damaged, incomplete or another "
            "format; copy or convert it again"
        ) from None


def _size_of(reader: sitk.ImageFileReader) -> int:
    """The size of the pixels in bytes."""
    voxel = sitk.Image([1, 1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
    return math.prod(reader.GetSize()) * voxel


def _read_parts(reader: sitk.ImageFileReader, parts: int) -> tuple[np.ndarray, sitk.Image]:
    width, height, depth, *frames = reader.GetSize()
    single = [0] * len(frames)  # of a fourth dimension the only frame, without the dimension
    step = -(-depth // parts)
    for start in range(0, depth, step):
        reader.SetExtractIndex([0, 0, start, *single])
        reader.SetExtractSize([width, height, min(step, depth - start), *single])
        image = reader.Execute()
        if step == depth:
            return np.asarray(_Owner(image)), image
        part = sitk.GetArrayViewFromImage(image)  # valid only as long as `image`
        if start == 0:
            first = image
            best: dict[str, np.dtype] = {"f": np.dtype(np.float32), "i": np.dtype(np.int16)}
            dtype = best.get(part.dtype.kind, part.dtype)
            stored: np.ndarray = np.empty((depth, height, width), dtype)
        if stored.dtype == np.int16 and not _fits(part):
            stored = stored.astype(np.float32)
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused later
            stored[start : start + len(part)] = part
    return stored, first


def _check_header(path: Path, reader: sitk.ImageFileReader, errors: ErrorPolicy) -> None:
    size = reader.GetSize()
    shape = " x ".join(map(str, size))
    if not (len(size) == 3 or (len(size) == 4 and size[3] == 1)):
        raise ValueError(
            f"{path}: found {len(size)} dimensions ({shape}), expected 3: save one volume as a "
            "file of its own"
        )
    pixel = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if not pixel[0].isdigit():  # "16-bit signed integer", and not "vector of ..."
        raise ValueError(
            f"{path}: found pixels of type '{pixel}', expected one HU for each "
            "voxel: save a single channel, or convert the DICOM series again"
        )
    missing = _missing_orientation(path, reader)
    if missing:
        error = ValueError(
            f"{path}: found {missing} in the header, so its orientation is unknown: convert it "
            "again from the DICOM series"
        )
        errors.handle(error)


def _missing_orientation(path: Path, reader: sitk.ImageFileReader) -> str:
    header = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    if path.suffix.lower() in (".nrrd", ".nhdr"):
        return "" if "NRRD_space" in header else "no 'space'"
    # MetaImage has no such keys and always an orientation.
    codes = {header[key].strip() for key in ("qform_code", "sform_code") if key in header}
    return "neither qform nor sform" if codes == {"0"} else ""


class _Owner:
    """Lends an image's memory to NumPy and keeps the image alive as long as any view of it.

    SimpleITK's own view does not: its memory is freed together with the image.
    """

    def __init__(self, image: sitk.Image) -> None:
        self.image = image
        self.__array_interface__: dict[str, Any] = sitk.GetArrayViewFromImage(
            image
        ).__array_interface__


def _as_hu(
    stored: np.ndarray, bad: np.ndarray | None, path: Path, errors: ErrorPolicy
) -> np.ndarray:
    """int16 or float32; a copy only if it has another type, or `bad` values and is read-only.

    Args:
        stored: pixels (K, J, I) as read.
        bad: positions (N,) that are no numbers; None looks for them.
    """
    bad = _not_finite(stored) if bad is None else bad
    whole = stored.dtype.kind != "f" and _fits(stored)
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is no HU
        hu = stored.astype(np.int16 if whole else np.float32, copy=False)
    if len(bad):
        hu = _with_air(bad, hu, path, errors)
    problem = hu_problem(hu)
    if problem:
        raise ValueError(
            f"{path}: {problem}: if the values are HU + 1024, subtract 1024; if they are scaled to "
            "0..1 or windowed, save the windowed slices as 8-bit images, or convert the DICOM "
            "series again"
        )
    return hu


def _fits(values: np.ndarray) -> bool:
    """Whether int16 holds all of them."""
    return bool(values.min() >= -32768 and values.max() <= 32767)


def _not_finite(stored: np.ndarray) -> np.ndarray:
    """Positions (N,) of NaN and infinite values in (K, J, I)."""
    parts = stored if stored.dtype.kind == "f" else ()
    found = [np.flatnonzero(~np.isfinite(part)) + k * part.size for k, part in enumerate(parts)]
    return np.concatenate([np.empty(0, np.int64), *found])


def _with_air(bad: np.ndarray, hu: np.ndarray, path: Path, errors: ErrorPolicy) -> np.ndarray:
    """The array with air at the positions `bad`, in place if it is writable."""
    error = ValueError(
        f"{path}: found {len(bad)} values that are not numbers (NaN or infinite), the first in "
        f"slice {bad[0] // hu[0].size} as stored, counted from 0; expected HU: convert it "
        f"again, or set them to air ({_AIR})"
    )
    errors.handle(error, f"taken as {_AIR}")
    hu = hu if hu.flags.writeable else hu.copy()
    hu.reshape(-1)[bad] = _AIR
    return hu


def _reason(error: RuntimeError) -> str:
    """What SimpleITK means, in its last line; a wrong "Reason: No such file" may follow it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Reason: ")] or lines
    return lines[-1].split("): ")[-1].removeprefix("sitk::ERROR: ").rstrip(".")
