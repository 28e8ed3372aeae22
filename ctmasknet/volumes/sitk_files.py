"""NIfTI, MetaImage and NRRD <-> Volume, by SimpleITK.

SimpleITK converts each format's geometry to LPS and applies NIfTI's slope and intercept. Reading
512 x 512 x 1000 int16 takes at most 1.0 (MetaImage, NRRD), 1.4 (NIfTI) or 1.6 times (compressed
MetaImage) the memory of the volume; int32 and float64 take 1.6 times (MetaImage) or 3 times (NRRD,
compressed MetaImage) that of the int16 or float32 they become (tools/benchmark_volumes.py).
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..atomic_write import atomic_write
from ..data.images import require_readable
from ..data.window import say_windowed_once
from ..errors import ErrorPolicy
from . import sitk
from .formats import VOLUME_FORMATS, ReadOptions, VolumeFormat
from .label_maps import label_map_problem
from .safe_reader import VOLUME_SUFFIXES, cannot_read, checked_reader, volume_suffix
from .shear import straight_nifti, straightened
from .sitk_headers import check_header, nifti_floats, unpacked_nifti
from .volume import Volume, hu_problem, upright_volume

WRITABLE_SUFFIXES = (".nii", ".nii.gz", ".mha", ".nrrd")
NIFTI_DESCRIPTION = 79  # bytes that the header has room for

_AIR = -1024
_PARTS = 8


def read_sitk(path: Path, options: ReadOptions) -> Volume:
    """Read a volume in HU, or a windowed 8-bit one; int16 if the file's integers fit, else float32.

    An unknown orientation, and NaN or infinity, which become air, are errors to handle.
    """
    require_readable(path)
    if ".nii" in volume_suffix(path):
        with (
            unpacked_nifti(path) as unpacked,
            straight_nifti(unpacked, path, options.errors) as plain,
        ):
            stored, image = _read_image(plain, path, options.errors)
            bad = _not_finite(nifti_floats(plain, path))
    else:
        stored, image = _read_image(path, path, options.errors)
        bad = _not_finite(stored if stored.dtype.kind == "f" else ())
    direction, spacing = np.array(image.GetDirection()).reshape(3, 3), image.GetSpacing()
    axes = direction * spacing
    straight = straightened(axes, path, options.errors)
    if straight is not axes:
        spacing = tuple(float(length) for length in np.linalg.norm(straight, axis=0))
        direction = straight / spacing
    if problem := label_map_problem(stored):
        raise ValueError(f"{path}: {problem}")
    windowed = None
    if stored.dtype == np.uint8:
        windowed = options.window
        say_windowed_once(windowed)
        hu = windowed.to_hu(stored)
    else:
        hu = _as_hu(stored, bad, path, options.errors)
    return upright_volume(
        hu,
        spacing[::-1],
        image.GetOrigin(),
        direction,
        path,
        windowed=windowed,
        errors=options.errors,
    )


def _format(suffix: str) -> VolumeFormat:
    return VolumeFormat(lambda path: volume_suffix(path) == suffix, read_sitk)


VOLUME_FORMATS.update({suffix: _format(suffix) for suffix in VOLUME_SUFFIXES})


def write_volume(volume: Volume, path: str | os.PathLike, description: str = "") -> None:
    """Write a volume as NIfTI, MHA or NRRD, whole or not at all.

    HU are written as they are, in int16 or float32; 8-bit input as its grey values again, in
    uint8, since it has no HU of its own.

    Args:
        path: ends with one of WRITABLE_SUFFIXES; an existing file is replaced.
        description: for the header of NIfTI, at most NIFTI_DESCRIPTION bytes.

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
    if description:
        image.SetMetaData("ITK_FileNotes", description)
    try:
        with atomic_write(path) as partial:
            sitk.WriteImage(image, str(partial), useCompression=path.suffix in (".gz", ".nrrd"))
    except RuntimeError as error:
        raise ValueError(f"{path}: cannot be written ({_reason(error)})") from None


def _read_image(file: Path, path: Path, errors: ErrorPolicy) -> "tuple[np.ndarray, sitk.Image]":
    """Return pixels (K, J, I), perhaps read-only, and geometry of `path`, unpacked as `file`."""
    suffix = volume_suffix(path)
    reader, in_parts = checked_reader(file, path)
    try:
        reader.ReadImageInformation()
        check_header(path, reader, errors)
        # ITK holds a NIfTI file twice if it reads it whole; it cannot read NRRD in parts. MetaImage
        # needs parts only where the type changes: the others are used as ITK holds them.
        kept = reader.GetPixelID() in (sitk.sitkInt16, sitk.sitkFloat32, sitk.sitkUInt8)
        parts = _PARTS if in_parts and (".nii" in suffix or not kept) else 1
        return _read_parts(reader, parts)
    except RuntimeError as error:
        said = _reason(error).replace(str(file), str(path))
        raise cannot_read(file, path, said) from None


def _read_parts(reader: "sitk.ImageFileReader", parts: int) -> "tuple[np.ndarray, sitk.Image]":
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
            kept = {"f": np.float32, "i": np.int16}.get(part.dtype.kind, part.dtype)
            stored: np.ndarray = np.empty((depth, height, width), kept)
        if stored.dtype == np.int16 and not _fits(part):
            stored = stored.astype(np.float32)
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused later
            stored[start : start + len(part)] = part
    return stored, first


class _Owner:
    """Lends an image's memory to NumPy and, unlike SimpleITK's view, keeps the image alive."""

    def __init__(self, image: "sitk.Image") -> None:
        self.image = image
        self.__array_interface__ = sitk.GetArrayViewFromImage(image).__array_interface__


def _as_hu(stored: np.ndarray, bad: np.ndarray, path: Path, errors: ErrorPolicy) -> np.ndarray:
    """Return int16 or float32, air at the flat positions `bad`; a copy only if needed."""
    whole = stored.dtype.kind != "f" and _fits(stored)
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is no HU
        hu = stored.astype(np.int16 if whole else np.float32, copy=False)
    if len(bad):
        error = ValueError(
            f"{path}: found {len(bad)} values that are not numbers (NaN or infinite), the first in "
            f"slice {bad[0] // hu[0].size} as stored, counted from 0; expected HU: convert it "
            f"again, or set them to air ({_AIR})"
        )
        errors.handle(error, f"taken as {_AIR}")
        hu = hu if hu.flags.writeable else hu.copy()
        hu.reshape(-1)[bad] = _AIR
    if problem := hu_problem(hu):
        raise ValueError(
            f"{path}: {problem}: if the values are HU + 1024, subtract 1024; if they are scaled to "
            "0..1 or windowed, save the windowed slices as 8-bit images, or convert the DICOM "
            "series again"
        )
    return hu


def _fits(values: np.ndarray) -> bool:
    """Whether int16 holds all values."""
    return bool(values.min() >= -32768 and values.max() <= 32767)


def _not_finite(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Return the flat positions (N,) of NaN and infinity in an array that comes in parts."""
    found, start = [np.empty(0, np.int64)], 0
    for part in parts:
        found.append(np.flatnonzero(~np.isfinite(part)) + start)
        start += part.size
    return np.concatenate(found)


def _reason(error: RuntimeError) -> str:
    """SimpleITK's last line but for "Reason: No such file", which may be wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Reason: ")] or lines
    return lines[-1].split("): ")[-1].removeprefix("sitk::ERROR: ").rstrip(".")
