"""Any CT volume -> Volume: VOLUME_FORMATS, DICOM, images, and folders and zips of these."""

import errno
import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..data.images import IMAGE_SUFFIXES, cannot_open, require_readable, what_else_it_is
from ..data.window import LUNG, Window
from ..errors import RAISE, ErrorPolicy
from ..limits import MEMBERS, check_limit, check_unpacked
from .dicom_series import read_dicom
from .formats import VOLUME_FORMATS, ReadOptions, format_of, is_dicom, is_image, is_zip, sort_files
from .image_stack import read_image_stack
from .label_maps import without_label_maps
from .sitk_files import write_volume
from .volume import Volume

__all__ = ["read_volume", "write_volume"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNFIT_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL)
_DEFLATE64 = 9  # of zip's methods; Python does not know it
_NOWHERE = ("", ".", "..")  # what zipfile leaves out of members' names


def read_volume(
    path: str | os.PathLike,
    *,
    files: Sequence[Path] = (),
    series: str | None = None,
    window: str | Window | None = None,
    errors: ErrorPolicy = RAISE,
) -> Volume:
    """Read one CT volume.

    Args:
        path: a folder (of DICOM files at any depth, of images in the order of their names, or
            with one volume file), a zip of such a folder, a file of one of VOLUME_FORMATS (NIfTI,
            MetaImage, NRRD), or one DICOM file or image (a volume of one slice).
        files: DICOM files or images of a folder to take, instead of all.
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
    path, noted = Path(path), errors.fresh()
    options = ReadOptions(series, LUNG if window is None else Window.parse(window), noted)
    try:
        with _system_errors_named(path):
            if files:
                volume = _read_slices(files, path, options)
            elif is_zip(path) and path.is_file():
                volume = _read_zip(path, options)
            else:
                volume = _read(path, options)
        return replace(volume, skipped=(*noted.messages, *noted.notes))
    finally:
        errors.take(noted)


@contextmanager
def _system_errors_named(path: Path) -> Iterator[None]:
    """Turn the system's errors of a file or folder into those of an unusable one."""
    try:
        yield
    except OSError as error:
        # Without a number it is our own; a full disk is no fault of this volume.
        if error.errno is None or error.errno in _FULL:
            raise
        raise cannot_open(error.filename or path, error) from None


def _read(path: Path, options: ReadOptions) -> Volume:
    if path.is_dir():
        return _read_folder(path, options)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder, expected a CT volume")
    if known := format_of(path):
        return known.read(path, options)
    if not is_image(path):
        require_readable(path)
        if not is_dicom(path):
            found = what_else_it_is(path)
            raise ValueError(
                f"{path}: {found or 'no CT volume'}, expected a folder or .zip of DICOM files or "
                f"images, a DICOM file or an image, or one of {', '.join(VOLUME_FORMATS)}"
            )
    return _read_slices([path], path, options)


def _read_slices(files: Sequence[Path], source: Path, options: ReadOptions) -> Volume:
    """Read images, or else DICOM files, of one slice each."""
    read = read_image_stack if is_image(files[0]) else read_dicom
    return read(files, source, options)


def _read_folder(folder: Path, options: ReadOptions) -> Volume:
    """A folder holds one volume; label maps (masks) beside it, and images (previews) beside DICOM
    files, are left out."""
    found = sort_files(folder, options.errors)
    volumes, images = found.volumes, found.images
    if len(volumes) + bool(found.dicom) > 1 or not found.dicom and images:

        def note(text: str) -> None:
            options.errors.note(f"{text}: left out")

        volumes = without_label_maps(volumes, note)
        images = without_label_maps(images, note)
        if not (found.dicom or volumes or images):
            raise ValueError(
                f"{folder}: found nothing but label maps (masks), expected a CT volume"
            )
    slices = found.dicom or images
    if len(volumes) + bool(slices) > 1:
        beside = f" beside {'DICOM files' if found.dicom else 'images'}" if slices else ""
        raise ValueError(
            f"{folder}: found {len(volumes)} volume files ({volumes[0].name}, ...){beside}, "
            "expected one volume: name the file itself"
        )
    if volumes:
        return _read(volumes[0], options)
    if slices:
        return _read_slices(slices, folder, options)
    rest = found.zips + found.others
    for path in rest:  # one that cannot be read may be DICOM
        require_readable(path)
    if found.zips:
        raise ValueError(
            f"{folder}: found {found.zips[0].name} in it, expected one volume: name the zip "
            "itself, or unpack what holds it"
        )
    raise ValueError(
        f"{folder}: found no CT volume among {len(rest)} files, expected DICOM files, images "
        f"({', '.join(IMAGE_SUFFIXES)}), or one of {', '.join(VOLUME_FORMATS)}"
    )


def _read_zip(path: Path, options: ReadOptions) -> Volume:
    """Read a zip as a folder, its files called "scan.zip!folder/12.dcm" in messages."""
    require_readable(path)
    errors = options.errors
    with tempfile.TemporaryDirectory(prefix="ctmasknet-") as name:
        folder = Path(name, path.stem)  # named so for a volume without identifiers

        def shown(text: str) -> str:
            return text.replace(f"{folder}{os.sep}", f"{path}!").replace(str(folder), str(path))

        _unpack(path, folder, options.errors)
        try:
            with _system_errors_named(folder):
                volume = _read(folder, options)
        except (ValueError, FileNotFoundError) as error:
            raise type(error)(shown(str(error))) from None
        finally:
            errors.messages[:] = map(shown, errors.messages)
            errors.notes[:] = map(shown, errors.notes)
    return replace(volume, source=path, slice_files=tuple(map(shown, volume.slice_files)))


def _unpack(path: Path, folder: Path, errors: ErrorPolicy) -> None:
    """Unpack a zip into a folder, made if missing.

    Members that cannot be unpacked are errors to handle; if none can, that is a ValueError. A full
    disk is an OSError.
    """
    folder.mkdir(exist_ok=True)
    unpacked, problems = 0, []
    # A damaged file makes zipfile and its decompressors raise BadZipFile, zlib.error, RuntimeError,
    # OSError and others, which all mean the same to the user.
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            check_limit(path, len(members), MEMBERS)
            check_unpacked(path, path.stat().st_size, sum(x.file_size for x in members))
            for member in members:
                try:
                    archive.extract(member, folder)
                    unpacked += 1
                except Exception as error:
                    found = "Deflate64" if member.compress_type == _DEFLATE64 else ""
                    name = f"{path}!{member.filename}"
                    problems.append(_cannot_unpack(name, error, found))
                    # What was written of it could pass for a slice. Its place, as zipfile has it:
                    names = [name for name in member.filename.split("/") if name not in _NOWHERE]
                    if os.path.isfile(left := folder.joinpath(*names)):
                        left.unlink()
    except Exception as error:
        # Of a member, or of our own.
        if getattr(error, "errno", None) in _FULL or str(error).startswith(f"{path}: found"):
            raise
        raise _cannot_unpack(str(path), error, what_else_it_is(path)) from None
    for problem in problems:
        (errors if unpacked else RAISE).handle(problem)


def _cannot_unpack(name: str, error: Exception, found: str = "") -> ValueError:
    """Return the error for an archive or a member; raise it if the disk is full."""
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
    if found == "Deflate64":
        return ValueError(
            f"{name}: cannot be unpacked: it is compressed by Deflate64, as Windows does with "
            "large files; unpack it and give the folder, or zip it again by 7-Zip or zip"
        )
    return ValueError(
        f"{name}: cannot be unpacked ({found or error}): damaged or encrypted; copy it again, or "
        "zip it again without a password"
    )
