"""The formats of which one file holds a whole CT volume.

`read_volume`, prediction and datasets/prepare_volumes.py know a format by its entry here. DICOM
files and images, which hold one slice each, are put together in `volume_files`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import RAISE, ErrorPolicy
from .volume import Volume
from .window import LUNG, Window


@dataclass(frozen=True)
class ReadOptions:
    """How a volume is read.

    Args:
        series: SeriesInstanceUID to take of several in a DICOM folder.
        window: that 8-bit input is taken to have.
        errors: of parts of the volume. Where they are collected, a reader goes on without these
            parts, and raises only if nothing can be used.
    """

    series: str | None = None
    window: Window = LUNG
    errors: ErrorPolicy = RAISE


@dataclass(frozen=True)
class VolumeFormat:
    """How the files of a format are known and read.

    Args:
        matches: whether a path is a file of the format, by its name or its first bytes; False for
            one that cannot be opened.
        read: a file to a Volume (see `upright_volume`). Its ValueErrors and OSErrors name the file.
    """

    matches: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], Volume]


# The name is what messages list ("expected one of .nii, .nii.gz, ...").
VOLUME_FORMATS: dict[str, VolumeFormat] = {}


def format_of(path: Path) -> VolumeFormat | None:
    """Return the first of VOLUME_FORMATS that matches a file; None if none does."""
    return next((known for known in VOLUME_FORMATS.values() if known.matches(path)), None)
