"""SimpleITK's reader of a volume file, given only after our own checks of the header."""

from pathlib import Path

from ..data.images import what_else_it_is
from . import sitk
from .data_files import HeaderError
from .metaimage_headers import check_metaimage
from .nrrd_headers import check_nrrd
from .sitk_headers import check_nifti

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")


def volume_suffix(path: Path) -> str:
    """Return the one of VOLUME_SUFFIXES that a name has; "" if it has none."""
    found = [suffix for suffix in VOLUME_SUFFIXES if path.name.lower().endswith(suffix)]
    return found[0] if found else ""


def checked_reader(file: Path, path: Path) -> "tuple[sitk.ImageFileReader, bool]":
    """Return a reader of a file, which knows one format alone, and whether parts can be read.

    ITK ends the process at some headers, and takes memory for whatever size they state.

    Args:
        file: the file, of NIfTI unpacked (see `unpacked_nifti`).
        path: its path for the user.

    Raises:
        ValueError: the header cannot be right, or the pixels are not all there.
    """
    try:
        kind, in_parts = _check(file, path, path.name.lower())
    except HeaderError as error:
        raise cannot_read(file, path, str(error)) from None
    reader = sitk.ImageFileReader()
    reader.SetImageIO(kind)  # by contents or names ITK would try others
    reader.SetFileName(str(file))
    return reader, in_parts


def cannot_read(file: Path, path: Path, reason: str) -> ValueError:
    """Return the error of a damaged volume; for an empty file, say, that is the reason."""
    reason = what_else_it_is(file) or f"{reason}, {path.stat().st_size} bytes"
    return ValueError(
        f"{path}: cannot be read as {volume_suffix(path)} ({reason}): damaged, incomplete or "
        "another format; copy or convert it again"
    )


def _check(file: Path, path: Path, name: str) -> tuple[str, bool]:
    """Check a header by the file's suffix; return ITK's name of the format, and if in parts."""
    if name.endswith((".mha", ".mhd")):
        return "MetaImageIO", check_metaimage(path)
    if name.endswith((".nrrd", ".nhdr")):
        check_nrrd(path)
        return "NrrdImageIO", False
    check_nifti(file, path)
    return "NiftiImageIO", True
