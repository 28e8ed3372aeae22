"""What a user points at -> scans, and sets of slices, to be predicted one after the other."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.images import IMAGE_SUFFIXES
from ..errors import ErrorPolicy, collecting
from ..volumes.dicom_headers import SliceHeader, dicom_among, read_headers
from ..volumes.dicom_series import read_dicom
from ..volumes.image_stack import read_image_stack
from ..volumes.sitk_files import VOLUME_SUFFIXES, volume_suffix
from ..volumes.volume import Volume
from ..volumes.volume_files import files_of, read_volume
from ..volumes.window import Window
from ..wording import counted
from .names import folder_name, numbered_apart, stem_of


@dataclass(frozen=True)
class Input:
    """A scan, or slices that are taken one by one.

    Attributes:
        name: of its results' folder.
        path: the file or folder to name in results.
        files: the slices of a set, or of a scan of images; the files of a DICOM series that was
            found in a folder, damaged ones beside them too. Empty for what `read_volume` takes as
            it is.
        is_scan: False for a set of slices.
        has_slices: False of DICOM files of which none tells a series: probably no scan.
    """

    name: str
    path: Path
    files: tuple[Path, ...] = ()
    is_scan: bool = True
    has_slices: bool = True

    def read(self, window: Window, series: str | None, errors: ErrorPolicy) -> Volume:
        """Read a scan; see `read_volume`."""
        if not self.files:
            return read_volume(self.path, series=series, window=window, errors=errors)
        if self.files[0].suffix.lower() in IMAGE_SUFFIXES:
            return read_image_stack(self.files, self.path, window, errors)
        return read_dicom(self.files, self.path, errors=errors)

    def state(self) -> list[tuple[str, int, int]]:
        """Names, sizes and times of its files, by which a changed input is known."""
        files: Iterable[Path] = self.files or [self.path]
        if self.path.suffix.lower() in (".mhd", ".nhdr"):  # the voxels are in files beside it
            files = sorted(self.path.parent.glob(f"{glob.escape(self.path.stem)}.*"))
        return file_states(files)


def file_states(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of each file that is there."""
    states = [(path, path.stat()) for path in files if path.is_file()]
    return [(str(path.absolute()), stat.st_size, stat.st_mtime_ns) for path, stat in states]


def find_inputs(
    paths: Sequence[str | os.PathLike], as_scan: bool = False
) -> tuple[list[Input], list[str], list[str]]:
    """Find what there is to predict.

    A folder may hold anything at any depth: each series of CT slices in DICOM, each volume file and
    each zip in it is a scan, and the images of each folder are a set of slices (images beside DICOM
    files are previews and left out).

    Args:
        paths: files and folders.
        as_scan: take the images of a folder as the slices of one scan, in the order of their names.

    Returns:
        The inputs, each with a name of its own; what cannot be used, a line each; and what is left
        out as it is meant to be (scouts, reports, previews), a line each.
    """
    found: list[Input] = []
    problems: list[str] = []
    left_out: list[str] = []
    for path in map(Path, paths):
        if path.is_dir():
            inputs = _in_folder(path, as_scan, problems, left_out)
            if not inputs:
                problems.append(
                    f"{path}: found nothing to predict, expected DICOM files, images "
                    f"({', '.join(IMAGE_SUFFIXES)}), zips or one of {', '.join(VOLUME_SUFFIXES)}"
                )
            found += inputs
        elif not path.exists():
            problems.append(f"{path}: no such file or folder")
        else:
            name, image = stem_of(path), path.suffix.lower() in IMAGE_SUFFIXES
            found.append(Input(name, path, (path,) if image else (), is_scan=not image))
    return _named_apart(found), problems, left_out


def _in_folder(
    folder: Path, as_scan: bool, problems: list[str], left_out: list[str]
) -> list[Input]:
    errors = collecting()
    try:
        files = files_of(folder, errors)
    except ValueError as error:
        problems.append(str(error))
        return []
    problems += errors.messages
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    whole = [path for path in files if volume_suffix(path) or path.suffix.lower() == ".zip"]
    others = {*images, *whole}
    dicom = dicom_among(path for path in files if path not in others)
    series = _series(dicom, left_out)
    found = [Input(stem_of(path), path) for path in whole] + series
    readable = {path.parent for item in series if item.has_slices for path in item.files}
    for parent in dict.fromkeys(path.parent for path in images):
        members = tuple(path for path in images if path.parent == parent)
        if parent in readable:
            left_out.append(f"{parent}: {counted(len(members), 'image')} beside DICOM files")
            continue
        found.append(Input(folder_name(parent), parent, members, is_scan=as_scan))
    return found


def _series(dicom: list[Path], left_out: list[str]) -> list[Input]:
    """The CT series among DICOM files; a damaged file goes to the series of its folder."""
    headers = read_headers(dicom, collecting())
    groups: dict[str, list[SliceHeader]] = {}
    for header in headers:
        groups.setdefault(header.series, []).append(header)
    found = []
    damaged = set(dicom) - {header.path for header in headers}
    damaged |= {header.path for header in groups.pop("", [])}
    for group in groups.values():
        axial = [header for header in group if not _beside_the_point(header)]
        if len(axial) < len(group):
            kind = group[0].identifiers.get("Modality", "no modality")
            description = group[0].identifiers.get("SeriesDescription", "no description")
            left_out.append(
                f"{group[0].path.parent}: {len(group) - len(axial)} files of the series "
                f"'{description}' ({kind}) are no axial CT slices"
            )
        if not axial:
            continue
        folders = {header.path.parent for header in axial}
        path = Path(os.path.commonpath(folders))
        mine = {path for path in damaged if path.parent in folders}
        damaged -= mine
        members = tuple(header.path for header in axial) + tuple(sorted(mine))
        found.append(Input(folder_name(path), path, members))
    for folder in sorted({path.parent for path in damaged}):  # reading them will tell
        members = tuple(sorted(path for path in damaged if path.parent == folder))
        found.append(Input(folder_name(folder), folder, members, has_slices=False))
    return found


def _beside_the_point(header: SliceHeader) -> bool:
    """Scouts, dose reports, segmentations: what a study has beside its CT slices."""
    return header.localiser or header.identifiers.get("Modality", "CT") != "CT"


def _named_apart(inputs: list[Input]) -> list[Input]:
    """Names that several inputs share get their folder in front, and then a number behind."""
    shared = {name for name, n in Counter(item.name for item in inputs).items() if n > 1}
    names = []
    for item in inputs:
        parent = folder_name(item.path.absolute().parent)
        names.append(f"{parent}_{item.name}" if item.name in shared and parent else item.name)
    apart = numbered_apart(names)
    return [replace(item, name=name) for item, name in zip(inputs, apart, strict=True)]
