"""What a file is taken for: one of VOLUME_FORMATS, a zip, an image, DICOM, or nothing."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..data.images import IMAGE_SUFFIXES, cannot_open
from ..data.walk import walk
from ..data.window import LUNG, Window
from ..errors import RAISE, ErrorPolicy
from ..wording import counted
from .volume import Volume

_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
INDEXES = ("DICOMDIR", "DIRFILE")  # without pixels
# Group 2 or 8, an element, and an explicit type or, in old files, a length below 256.
_WITHOUT_PREAMBLE = re.compile(rb"[\2\10]\0.\0(?:[A-Z]{2}|.\0\0\0)", re.DOTALL)
_OTHER_NAMES = re.compile(  # of files without suffix that lie beside DICOM files and are none
    "AUTHORS|CHANGELOG|CHANGES|CHECKSUMS|COPYING|DICOMDIR|DIRFILE|LICENCE|LICENSE|LOCKFILE|MANIFEST|"
    "MD5SUMS|NOTICE|README|SHA256SUMS|VERSION"
)


# Scans may be in these, which are not read.
_UNREAD = (
    *(".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zst"),
    *(".h5", ".hdf5", ".hdr", ".img", ".mat", ".mgz", ".mnc", ".npy", ".npz", ".vti", ".vtk"),
)


@dataclass(frozen=True)
class ReadOptions:
    """How to read a volume.

    Args:
        series: SeriesInstanceUID to take of several in a DICOM folder.
        window: that 8-bit input is taken to have.
        errors: of parts of the volume. If they are collected, a reader goes on without these
            parts, and raises only if nothing can be used.
    """

    series: str | None = None
    window: Window = LUNG
    errors: ErrorPolicy = RAISE


@dataclass(frozen=True)
class VolumeFormat:
    """A format of volume files.

    Args:
        matches: whether a path has the format, by its name or first bytes; False if it cannot be
            opened.
        read: a file to a Volume (see `upright_volume`). Its ValueErrors and OSErrors name the file.
    """

    matches: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], Volume]


# Formats of which one file is a whole volume, by the names that messages list (".nii", ...).
VOLUME_FORMATS: dict[str, VolumeFormat] = {}


def format_of(path: Path) -> VolumeFormat | None:
    """Return the first of VOLUME_FORMATS that matches a file; None if none does."""
    return next((known for known in VOLUME_FORMATS.values() if known.matches(path)), None)


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM by its first bytes, or claims to be by its suffix."""
    if path.name.startswith(".") or path.name.upper() in INDEXES or not os.path.isfile(path):
        return False
    if path.suffix.lower() in _DICOM_SUFFIXES:
        return True
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError:  # nothing is known of it; see `dicom_among`
        return False
    return start[128:] == b"DICM" or bool(_WITHOUT_PREAMBLE.match(start))


def dicom_among(files: Iterable[Path]) -> list[Path]:
    """Return the DICOM files among those of no other known type, damaged ones too.

    Many series have files without suffix, and an emptied or overwritten one has no magic bytes. So
    every file that has a suffix of the DICOM files counts as one: none vanishes silently.
    """
    files = list(files)
    known = {path for path in files if is_dicom(path)}
    suffixes = {_suffix(path) for path in known}

    def claims(path: Path) -> bool:
        other = path.name.startswith(".") or _OTHER_NAMES.fullmatch(path.stem.upper())
        return _suffix(path) in suffixes and not other

    return [path for path in files if path in known or claims(path)]


def _suffix(path: Path) -> str:
    """The suffix in lower case; "" for one that only counts ("IM.0012", a UID)."""
    suffix = path.suffix.lower()
    return "" if suffix[1:].isdecimal() else suffix


@dataclass(frozen=True)
class FolderFiles:
    """The files of a folder at any depth, each in one list, in natural order."""

    volumes: list[Path]  # of VOLUME_FORMATS
    zips: list[Path]
    images: list[Path]
    dicom: list[Path]  # damaged ones too, see `dicom_among`
    others: list[Path]


def is_image(path: Path) -> bool:
    """Return whether a file is an image by its suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_zip(path: Path) -> bool:
    """Return whether a file is a zip by its suffix."""
    return path.suffix.lower() == ".zip"


def sort_files(folder: Path, errors: ErrorPolicy) -> FolderFiles:
    """Sort the files of a folder by kind, broken links among them, hidden files left out.

    Subfolders that cannot be listed are errors to handle; the folder itself, a ValueError.
    """
    files = _files_of(folder, errors)
    volumes = [path for path in files if format_of(path)]
    images = [path for path in files if is_image(path)]
    zips = [path for path in files if is_zip(path)]
    known = {*volumes, *images, *zips}
    dicom = dicom_among(path for path in files if path not in known)
    known.update(dicom)
    others = [path for path in files if path not in known]
    return FolderFiles(volumes, zips, images, dicom, others)


def _files_of(folder: Path, errors: ErrorPolicy) -> list[Path]:
    files: list[Path] = []
    closed: list[OSError] = []
    for here, names in walk(folder, closed.append):
        try:
            os.stat(os.path.join(here, "."))
        except OSError as denied:  # it can be listed, its files cannot be opened
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
        for path in sorted(files, key=natural_order)
        if (path.is_file() or not path.exists()) and not _hidden(path.relative_to(folder))
    ]


def by_folder(files: Iterable[Path]) -> dict[Path, list[Path]]:
    """Return the files of each folder, in their order."""
    folders: dict[Path, list[Path]] = {}
    for path in files:
        folders.setdefault(path.parent, []).append(path)
    return folders


def describe_unread(files: Iterable[Path]) -> list[str]:
    """Return a line for each folder and suffix of files that may hold scans, but are not read."""
    alike = Counter((path.parent, path.suffix.lower()) for path in files)
    return [
        f"{folder}: {counted(number, f'{suffix} file')}: not read: unpack "
        "archives, convert other formats to NIfTI"
        for (folder, suffix), number in alike.items()
        if suffix in _UNREAD
    ]


def natural_order(path: Path) -> list[tuple[int, int | str]]:
    """Return a key that sorts slice_2 before slice_10."""
    parts = re.split(r"(\d+)", str(path).lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _hidden(path: Path) -> bool:
    """Whether it is hidden, or something that macOS adds to a zip."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)
