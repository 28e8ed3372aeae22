"""Which mask belongs to which scan: by name, by the series that it refers to, or as the only one.

Shapes: Z, Y, X are the axes of the scan, upright.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.classes import MaskValues
from ..data.nnunet import case_name
from ..errors import RAISE, ErrorPolicy
from ..wording import counted
from .dicom_seg_files import read_seg, referenced_series
from .formats import is_dicom, sort_files
from .label_files import Layout, read_labels
from .safe_reader import VOLUME_SUFFIXES, volume_suffix
from .volume import Volume

_SERIES = "SeriesInstanceUID"


@dataclass(frozen=True)
class ScanMask:
    """The lesions of a scan."""

    labels: np.ndarray  # (Z, Y, X) uint8, upright
    values: MaskValues  # what they mean
    layout: Layout  # of the file that they are from, or of the scan


class MaskFiles:
    """The masks of a folder at any depth, or one mask."""

    def __init__(self, path: Path, scans: Sequence[Path] = (), errors: ErrorPolicy = RAISE):
        """Find them.

        Args:
            path: a folder, or a file with one of VOLUME_SUFFIXES or a DICOM segmentation.
            scans: files and folders of the scans, of which files may lie beside their masks.
            errors: policy for subfolders that cannot be listed.

        Raises:
            FileNotFoundError: no such file or folder, or no mask in it.
            ValueError: one mask for several scans.
        """
        self._path = path
        self._names: dict[Path, set[str]] = {}  # of volume files: stem and first folder
        self._series: dict[Path, set[str]] = {}  # of segmentations
        self._unused: set[Path] = set()
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder of masks")
        self._alone = path if path.is_file() else None
        if self._alone:
            if len(scans) > 1:
                raise ValueError(f"{path}: one mask for {len(scans)} scans, name their folder")
            return
        found = sort_files(path, errors)
        own = {scan.resolve() for scan in scans}
        for file in found.volumes:
            if file.resolve() in own:
                continue
            folders = file.relative_to(path).parts[:-1]
            self._names[file] = {file.name[: -len(volume_suffix(file))], *folders[:1]}
        for file in found.dicom:
            if (series := referenced_series(file)) is not None:
                self._series[file] = series
        if not (self._names or self._series):
            raise FileNotFoundError(
                f"{path}: found no mask, expected {', '.join(VOLUME_SUFFIXES)} or DICOM "
                "segmentations"
            )
        self._unused = {*self._names, *self._series}

    def find(self, name: str, volume: Volume) -> Path:
        """Return the mask of a scan, by the name of its file or folder or by its series.

        The mask of "p1" is called "p1", or else "p1-label" or "p1_lesions"; `name` may also end in
        nnU-Net's _0000. Raises a ValueError for none or several.
        """
        if self._alone:
            return self._alone
        uid = volume.identifiers.get(_SERIES)
        found: list[Path] = []
        for fits in (
            lambda other: other == name,
            lambda other: other == case_name(name),
            lambda other: other.startswith((f"{name}_", f"{name}-", f"{name}.")),
        ):
            found = found or [file for file, names in self._names.items() if any(map(fits, names))]
        found += [file for file, series in self._series.items() if uid in series]
        if len(found) != 1:
            several = f"{counted(len(found), 'mask')} of it in" if found else "no mask of it in"
            which = f" ({', '.join(map(str, found))})" if found else ""
            raise ValueError(
                f"{volume.source}: {several} {self._path}{which}, expected one: a file "
                f"{case_name(name)}.nii.gz, .nrrd or .mha, or a DICOM segmentation of its series"
            )
        self._unused.discard(found[0])
        return found[0]

    @property
    def unused(self) -> list[Path]:
        """Masks that no scan has asked for."""
        return sorted(self._unused)


def read_scan_mask(path: Path, volume: Volume, values: MaskValues | None) -> ScanMask:
    """Read a mask of a scan.

    Args:
        path: a file with one of VOLUME_SUFFIXES, or a DICOM segmentation.
        volume: the scan.
        values: what its values, or the numbers of its segments, mean; None: see `read_seg`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `read_labels` and `read_seg`; values that are no whole ones of 0 to 255, or
            whose meaning is not known.
    """
    if not volume_suffix(path) and is_dicom(path):
        return ScanMask(*read_seg(path, volume, values), Layout.of_volume(volume))
    found, layout = read_labels(path, volume, "mask")
    low, high = found.min(), found.max()
    if low < 0 or high > 255 or (found != np.floor(found)).any():
        raise ValueError(
            f"{path}: found values from {low:g} to {high:g}, expected a mask of whole values from "
            "0 to 255; is it the scan itself, or probabilities?"
        )
    labels = found.astype(np.uint8)
    _require_known(path, labels, values)
    assert values is not None
    return ScanMask(labels, values, layout)


def _require_known(path: Path, labels: np.ndarray, values: MaskValues | None) -> None:
    known = values.names if values else {}
    found = [int(x) for x in np.unique(labels) if x]
    unknown = [x for x in found if x not in known]
    if unknown or values is None:
        said = ", ".join(f"{value}={name}" for value, name in known.items()) or "none is named"
        raise ValueError(
            f"{path}: found the values {', '.join(map(str, found)) or 0}, of which {said}: say "
            'what each value of the masks means, as in --values "1=GGO,2=C,3=background"'
        )
