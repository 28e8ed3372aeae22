"""The files of a folder, and what each of them is taken for."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..data.images import IMAGE_SUFFIXES, cannot_open
from ..errors import ErrorPolicy
from .dicom_headers import dicom_among
from .formats import format_of


@dataclass(frozen=True)
class FolderFiles:
    """The files of a folder at any depth, each in one list, in the natural order of their names."""

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
    """Find the files of a folder, hidden ones left out; links to nowhere are among them.

    Args:
        folder: to look into.
        errors: of folders in it that cannot be listed.

    Raises:
        ValueError: the folder itself cannot be listed.
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
        for path in sorted(files, key=natural_order)
        if (path.is_file() or not path.exists()) and not _hidden(path.relative_to(folder))
    ]


def natural_order(path: Path) -> list[tuple[int, int | str]]:
    """Return a key that sorts slice_2 before slice_10."""
    parts = re.split(r"(\d+)", str(path).lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _hidden(path: Path) -> bool:
    """Hidden files, and what macOS adds to a zip."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)
