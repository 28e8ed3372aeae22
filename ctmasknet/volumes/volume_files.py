"""Any CT volume -> Volume: DICOM, NIfTI, MetaImage, NRRD, stacks of images, and zips of these."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..data.images import IMAGE_SUFFIXES, cannot_open, require_readable, what_else_it_is
from ..errors import RAISE, ErrorPolicy
from .dicom_headers import dicom_among, is_dicom
from .dicom_series import read_dicom
from .image_stack import read_image_stack
from .sitk_files import VOLUME_SUFFIXES, read_sitk, volume_suffix, write_volume
from .volume import Volume
from .window import Window

__all__ = ["read_volume", "write_volume"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNFIT_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL)
_NOWHERE = ("", ".", "..")  # what zipfile leaves out of members' names


def read_volume(
    path: str | os.PathLike,
    *,
    series: str | None = None,
    window: str | Window | None = None,
    errors: ErrorPolicy = RAISE,
) -> Volume:
    """Read one CT volume.

    Args:
        path: a folder (of DICOM files at any depth, of images in the order of their names, or
            with one volume file), a zip of such a folder, a .nii, .nii.gz, .mha, .mhd, .nrrd or
            .nhdr file, or one DICOM file or image (a volume of one slice).
        series: SeriesInstanceUID to take of several in a DICOM folder.
        window: that 8-bit input is taken to have; None is the papers' ("lung"). HU have none.
        errors: of parts of the volume. Where they are collected, reading goes on without these
            parts; only a volume of which nothing can be used raises.

    Returns:
        The volume, upright, its lowest slice first. While it is read it takes at most twice the
        memory of its HU, or of its pixels as stored if they are larger (int32, float64).

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: what is wrong with which file, and what to do.
        OSError: the disk is full where zips and compressed files are unpacked.
    """
    path = Path(path)
    window = None if window is None else Window.parse(window)
    noted = errors.fresh()
    try:
        with _told_as(path):
            read = _read_zip if path.suffix.lower() == ".zip" and path.is_file() else _read
            return read(path, series, window, noted)
    finally:
        errors.messages += noted.messages


@contextmanager
def _told_as(path: Path) -> Iterator[None]:
    """Tell of a file or folder that the system does not read as of any other that is unusable."""
    try:
        yield
    except OSError as error:
        # Without a number it is one of our own. A full disk is no fault of this volume.
        if error.errno is None or error.errno in _FULL:
            raise
        raise cannot_open(error.filename or path, error) from None


def _read(path: Path, series: str | None, window: Window | None, errors: ErrorPolicy) -> Volume:
    if path.is_dir():
        return _read_folder(path, series, window, errors)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder, expected a CT volume")
    if volume_suffix(path):
        return read_sitk(path, window=window, errors=errors)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return read_image_stack([path], path, window, errors)
    require_readable(path)
    if is_dicom(path):
        return read_dicom([path], path, series=series, errors=errors)
    raise ValueError(
        f"{path}: no CT volume, expected a folder or .zip of DICOM files or images, a DICOM file "
        f"or an image, or one of {', '.join(VOLUME_SUFFIXES)}"
    )


def _read_folder(
    folder: Path, series: str | None, window: Window | None, errors: ErrorPolicy
) -> Volume:
    """A folder holds one kind of volume; only beside DICOM files images (previews) are ignored."""
    files = files_of(folder, errors)
    volumes = [path for path in files if volume_suffix(path)]
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    others = {*volumes, *images}
    dicom = dicom_among(path for path in files if path not in others)
    if len(volumes) + bool(dicom or images) > 1:
        beside = f" beside {'DICOM files' if dicom else 'images'}" if dicom or images else ""
        raise ValueError(
            f"{folder}: found {len(volumes)} volume files ({volumes[0].name}, ...){beside}, "
            "expected one volume: name the file itself"
        )
    if volumes:
        return read_sitk(volumes[0], window=window, errors=errors)
    if dicom:
        return read_dicom(dicom, folder, series=series, errors=errors)
    if images:
        return read_image_stack(images, folder, window, errors)
    for path in files:  # perhaps they are DICOM, but cannot be looked at
        require_readable(path)
    raise ValueError(
        f"{folder}: found no CT volume among {len(files)} files, expected DICOM files, images "
        f"({', '.join(IMAGE_SUFFIXES)}), or one of {', '.join(VOLUME_SUFFIXES)}"
    )


def files_of(folder: Path, errors: ErrorPolicy) -> list[Path]:
    """All files in a folder at any depth, but hidden ones; links to nowhere are among them.

    Raises:
        ValueError: the folder cannot be listed, or one in it cannot (unless errors are collected).
    """
    files: list[Path] = []
    closed: list[OSError] = []
    for here, _, names in os.walk(folder, onerror=closed.append):
        try:
            os.stat(os.path.join(here, "."))
        except OSError as denied:  # it can be listed, but what is in it cannot be opened
            closed.append(OSError(denied.errno, denied.strerror, here))
            continue
        files += [Path(here, name) for name in names]
    for error in closed:
        path = Path(error.filename)
        if path == folder:
            raise cannot_open(folder, error)
        if not _hidden(path.relative_to(folder)):
            errors.handle(cannot_open(path, error))
    return [
        path
        for path in sorted(files, key=_natural)
        if (path.is_file() or not path.exists()) and not _hidden(path.relative_to(folder))
    ]


def _read_zip(path: Path, series: str | None, window: Window | None, errors: ErrorPolicy) -> Volume:
    """As if it were a folder; files are named "scan.zip!folder/12.dcm" in messages."""
    require_readable(path)
    with tempfile.TemporaryDirectory(prefix="ctmasknet-") as name:
        folder = Path(name, path.stem)  # named so for a volume without identifiers

        def shown(text: str) -> str:
            return text.replace(f"{folder}{os.sep}", f"{path}!").replace(str(folder), str(path))

        _unpack(path, folder, errors)
        try:
            with _told_as(folder):
                volume = _read(folder, series, window, errors)
        except (ValueError, FileNotFoundError) as error:
            raise type(error)(shown(str(error))) from None
        finally:
            errors.messages[:] = map(shown, errors.messages)
    return replace(
        volume,
        source=path,
        slice_files=tuple(map(shown, volume.slice_files)),
        skipped=tuple(errors.messages),
    )


def _unpack(path: Path, folder: Path, errors: ErrorPolicy) -> None:
    """Unpack a zip into a new folder; `errors` handles single members."""
    folder.mkdir(exist_ok=True)
    unpacked, problems = 0, []
    # zipfile and its decompressors raise what a damaged file makes them raise (BadZipFile,
    # zlib.error, RuntimeError, OSError, ...): all of it means the same to the user.
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                try:
                    archive.extract(member, folder)
                    unpacked += 1
                except Exception as error:
                    problems.append(_cannot_unpack(f"{path}!{member.filename}", error))
                    # What was written of it could pass for a slice. Its place, as zipfile has it:
                    names = [name for name in member.filename.split("/") if name not in _NOWHERE]
                    if os.path.isfile(left := folder.joinpath(*names)):
                        left.unlink()
    except Exception as error:
        if getattr(error, "errno", None) in _FULL:  # of a member
            raise
        raise _cannot_unpack(str(path), error, what_else_it_is(path)) from None
    for problem in problems:
        (errors if unpacked else RAISE).handle(problem)


def _cannot_unpack(name: str, error: Exception, found: str = "") -> ValueError:
    """What to raise, or to note, for an archive or a member.

    Args:
        found: what it is instead, if that is known.

    Raises:
        OSError: the disk is full, which is no fault of the archive.
    """
    code = getattr(error, "errno", None)
    if code in _FULL:
        folder = tempfile.gettempdir()
        raise OSError(code, f"{name}: no space left in {folder} to unpack it; free some") from None
    if code in _UNFIT_NAME:
        return ValueError(
            f"{name}: cannot be unpacked ({os.strerror(code).lower()}): as it was zipped it cannot "
            "be stored as a file; zip it again under another name"
        )
    if code is not None:
        return cannot_open(name, error)
    return ValueError(
        f"{name}: cannot be unpacked ({found or error}): damaged or encrypted; copy it again, or "
        "zip it again without a password"
    )


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Sorts slice_2 before slice_10."""
    parts = re.split(r"(\d+)", str(path).lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _hidden(path: Path) -> bool:
    """Hidden files, and what macOS adds to a zip."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)
