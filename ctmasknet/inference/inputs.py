"""What a user points at -> scans, and sets of slices, to be predicted one after the other."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.dicom_headers import SliceHeader, dicom_among, read_headers
from ..data.dicom_series import read_dicom
from ..data.images import IMAGE_SUFFIXES
from ..data.sitk_files import VOLUME_SUFFIXES, volume_suffix
from ..data.volume import Volume
from ..data.volume_files import files_of, read_volume
from ..data.window import Window


@dataclass(frozen=True)
class Input:
    """A scan, or slices that are taken one by one.

    Attributes:
        name: of its results' folder.
        path: the file or folder to name in results.
        files: the slices of a set; the files of a DICOM series that was found in a folder, damaged
            ones beside them too. Empty for what `read_volume` takes as it is.
        is_scan: False for a set of slices.
    """

    name: str
    path: Path
    files: tuple[Path, ...] = ()
    is_scan: bool = True

    def read(self, window: Window, skipped: list[str]) -> Volume:
        """Read a scan; see `read_volume`."""
        if not self.files:
            return read_volume(self.path, window=window, skipped=skipped)
        return read_dicom(self.files, self.path, skipped=skipped)

    def state(self) -> list[tuple[str, int, int]]:
        """Names, sizes and times of its files, by which a changed input is known."""
        files: Iterable[Path] = self.files or [self.path]
        if not self.files and self.path.is_dir():
            files = files_of(self.path, [])
        found = []
        for path in files:
            if path.is_file():
                stat = path.stat()
                found.append((str(path.resolve()), stat.st_size, stat.st_mtime_ns))
        return found


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
        The inputs, each with a name of its own; what cannot be used, a
        line each; and what is left out as it is meant to be (scouts, reports), a line each.
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
            name, image = _stem(path), path.suffix.lower() in IMAGE_SUFFIXES
            found.append(Input(name, path, (path,) if image else (), is_scan=not image))
    return _named_apart(found), problems, left_out


def _in_folder(
    folder: Path, as_scan: bool, problems: list[str], left_out: list[str]
) -> list[Input]:
    try:
        files = files_of(folder, problems)
    except ValueError as error:
        problems.append(str(error))
        return []
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    whole = [path for path in files if volume_suffix(path) or path.suffix.lower() == ".zip"]
    others = {*images, *whole}
    dicom = dicom_among(path for path in files if path not in others)
    found = [Input(_stem(path), path) for path in whole] + _series(dicom, problems, left_out)
    dicom_folders = {path.parent for path in dicom}
    for parent in dict.fromkeys(path.parent for path in images):
        if parent in dicom_folders:
            continue
        members = tuple(path for path in images if path.parent == parent)
        name = parent.resolve().name
        found.append(Input(name, parent, () if as_scan else members, is_scan=as_scan))
    return found


def _series(dicom: list[Path], problems: list[str], left_out: list[str]) -> list[Input]:
    """The CT series among DICOM files; a damaged file goes to the series of its folder."""
    unreadable: list[str] = []
    headers = read_headers(dicom, unreadable)
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
        found.append(Input(path.resolve().name, path, members))
    problems += [line for line in unreadable if any(str(path) in line for path in damaged)]
    return found


def _beside_the_point(header: SliceHeader) -> bool:
    """Scouts, dose reports, segmentations: what a study has beside its CT slices."""
    return header.localiser or header.identifiers.get("Modality", "CT") != "CT"


def _stem(path: Path) -> str:
    name = path.resolve().name
    return Path(name.removesuffix(".gz")).stem


def _named_apart(inputs: list[Input]) -> list[Input]:
    """Names that several inputs share get their folder in front, and then a number behind."""
    shared = {name for name, n in Counter(item.name for item in inputs).items() if n > 1}
    taken: set[str] = set()
    named = []
    for item in inputs:
        name = item.name
        if name in shared:
            parent = item.path.resolve().parent.name
            name = f"{parent}_{name}" if parent else name
        free, number = name, 2
        while free in taken:
            free, number = f"{name}_{number}", number + 1
        taken.add(free)
        named.append(replace(item, name=free))
    return named
