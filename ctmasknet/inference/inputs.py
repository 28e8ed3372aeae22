"""What a user gives: files and folders in which scans and slices are found, and single slices.

Shapes: slices of H x W pixels.
"""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..data.channels import GREY, require_unlike, slice_channels
from ..data.images import IMAGE_SUFFIXES, check_slice, read_slice
from ..data.window import LUNG, Window
from ..errors import ErrorPolicy, collecting
from ..volumes.dicom_acquisitions import describe_group, group_series
from ..volumes.dicom_grouping import describe_asides
from ..volumes.dicom_headers import read_headers
from ..volumes.formats import (
    INDEXES,
    VOLUME_FORMATS,
    by_folder,
    describe_unread,
    is_image,
    natural_order,
    sort_files,
)
from ..volumes.label_maps import without_label_maps
from ..volumes.volume import Volume, hu_problem, without_gz
from ..volumes.volume_files import read_volume
from ..wording import counted

Source = str | Path | np.ndarray | Volume

_LONGEST = 200  # bytes, of the 255 that a name may have


@dataclass(frozen=True)
class Input:
    """A scan, or a set of slices that are predicted one by one."""

    name: str  # of the file or folder, apart from the others'
    path: Path  # the file or folder that results name
    # The slices of a set or of a scan of images, or the files of a DICOM series that was found in a
    # folder, damaged ones included; empty where `read_volume` takes `path` as it is.
    files: tuple[Path, ...] = ()
    is_scan: bool = True
    note: str = ""  # how it was found, if that is unusual
    series_uid: str = ""  # of a DICOM series that was found in a folder
    pseudonym: str = ""  # under which its results stand; "": under its name

    @property
    def folder(self) -> str:
        """The name of its results' folder."""
        return self.pseudonym or self.name

    def read(self, window: Window, series: str | None, errors: ErrorPolicy) -> Volume:
        """Read a scan; see `read_volume`."""
        series = None if self.files else series  # files are of one series already
        return read_volume(self.path, files=self.files, series=series, window=window, errors=errors)

    def state(self) -> list[tuple[str, int, int]]:
        """Return names, sizes and times of the files, by which a changed input is recognised."""
        files: Iterable[Path] = self.files or [self.path]
        if self.path.suffix.lower() in (".mhd", ".nhdr"):  # the voxels are in files beside it
            files = sorted(self.path.parent.glob(f"{glob.escape(self.path.stem)}.*"))
        return file_states(files)


def file_states(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Return the absolute name, size and modification time of each file that exists."""
    states = [(path, path.stat()) for path in files if path.is_file()]
    return [(str(path.absolute()), stat.st_size, stat.st_mtime_ns) for path, stat in states]


def find_inputs(
    paths: Sequence[str | os.PathLike], as_scan: bool = False
) -> tuple[list[Input], list[str], list[str]]:
    """Find the inputs in files and folders.

    A folder may hold anything at any depth. Each series of CT slices in DICOM, each volume file and
    each zip is a scan. The images of each folder are a set of slices, or with `as_scan` one scan in
    the order of their names; images beside DICOM files, or anywhere on a medium with a DICOMDIR,
    are previews and left out. So are label maps (masks), volumes and images.

    Returns the inputs, each with a name of its own; what cannot be used, a line each; and what is
    left out on purpose (scouts, reports, previews, masks), a line each.
    """
    found: list[Input] = []
    errors = collecting()
    left_out: list[str] = []
    for path in map(Path, paths):
        if path.is_dir():
            inputs = _in_folder(path, as_scan, errors, left_out)
            if not inputs:
                errors.handle(
                    f"{path}: found nothing to predict, expected DICOM files, images "
                    f"({', '.join(IMAGE_SUFFIXES)}), zips or one of {', '.join(VOLUME_FORMATS)}"
                )
            found += inputs
        elif not path.exists():
            errors.handle(f"{path}: no such file or folder")
        elif is_image(path):
            found.append(Input(stem_of(path), path, (path,), is_scan=False))
        else:
            found.append(Input(stem_of(path), path))
    return _named_apart(found), errors.messages, left_out


def _in_folder(
    folder: Path, as_scan: bool, errors: ErrorPolicy, left_out: list[str]
) -> list[Input]:
    try:
        files = sort_files(folder, errors)
    except ValueError as error:
        errors.handle(error)
        return []
    left_out += describe_unread(files.others)
    series, damaged = _find_series(files.dicom, left_out)
    volumes = without_label_maps(files.volumes, left_out.append)
    whole = sorted(volumes + files.zips, key=natural_order)
    found = [Input(stem_of(path), path) for path in whole] + series + damaged
    with_series = {path.parent for item in series for path in item.files}
    media = [path.parent for path in files.others if path.name.upper() in INDEXES]  # CDs
    for parent, images in by_folder(files.images).items():
        if parent in with_series or any(map(parent.is_relative_to, media)):
            left_out.append(f"{parent}: {counted(len(images), 'image')} beside DICOM files")
        elif images := without_label_maps(images, left_out.append):
            found.append(Input(folder_name(parent), parent, tuple(images), is_scan=as_scan))
    return found


def _find_series(dicom: list[Path], left_out: list[str]) -> tuple[list[Input], list[Input]]:
    """Return the CT series among DICOM files, and for each folder the files that belong to none.

    A damaged file goes to the series of its folder, whose reader then names it.
    """
    headers = read_headers(dicom, collecting())
    unknown = set(dicom) - {header.path for header in headers}
    left_out += describe_asides(headers)
    groups = group_series(header for header in headers if not header.aside)
    if groups and not groups[-1][0].series:
        unknown |= {header.path for header in groups.pop()}
    series_of = Counter(group[0].series for group in groups)
    found = []
    for group in groups:
        folders = {header.path.parent for header in group}
        damaged = sorted(path for path in unknown if path.parent in folders)
        unknown.difference_update(damaged)
        path = Path(os.path.commonpath(folders))
        note = ""
        if series_of[group[0].series] > 1:
            note = f"{path}: one series holds several scans, each predicted: "
            note += describe_group(group, groups)
        elif len({(header.series, header.frame) for header in group}) > 1:
            note = f"{path}: each of {len(group)} slices has a series or a frame of reference of "
            note += "its own: taken as one scan"
        members = (*(header.path for header in group), *damaged)
        uid = group[0].series
        found.append(Input(folder_name(path), path, members, note=note, series_uid=uid))
    alone = sorted(by_folder(sorted(unknown)).items())
    return found, [Input(folder_name(folder), folder, tuple(files)) for folder, files in alone]


def _named_apart(inputs: list[Input]) -> list[Input]:
    """Put the folder before names that several inputs share, and number those that still agree."""
    shared = {name for name, n in Counter(item.name for item in inputs).items() if n > 1}
    names = []
    for item in inputs:
        parent = folder_name(item.path.absolute().parent)
        names.append(f"{parent}_{item.name}" if item.name in shared and parent else item.name)
    apart = numbered_apart(names)
    return [replace(item, name=name) for item, name in zip(inputs, apart, strict=True)]


def stem_of(path: Path) -> str:
    """Return a file's name without its suffix (.nii.gz is one); a link keeps its own name."""
    name = Path(os.path.abspath(path)).name
    return Path(without_gz(name)).stem


def folder_name(path: Path) -> str:
    """Return a folder's name, also of "." and ".."; what looks like a suffix belongs to it."""
    return Path(os.path.abspath(path)).name


def numbered_apart(names: Iterable[str]) -> list[str]:
    """Cut names that leave no room for a suffix, and number those that are taken."""
    taken: set[str] = set()
    apart = []
    for long in names:
        name = long.encode()[:_LONGEST].decode(errors="ignore")
        free, number = name, 2
        while free in taken:
            free, number = f"{name}_{number}", number + 1
        taken.add(free)
        apart.append(free)
    return apart


def is_slice(source: Source) -> bool:
    """Return whether a source is a slice, an array or an image file, and not a scan."""
    if isinstance(source, str | Path):
        return is_image(Path(source)) and not Path(source).is_dir()
    return isinstance(source, np.ndarray)


def read_source(
    source: Source, window: str | Window | None, channels: str = GREY
) -> tuple[np.ndarray, str]:
    """Read a slice; return (H, W, 3) uint8 RGB and its file ("" of an array).

    HU are windowed, by the papers' window if None. `channels` are what the model reads, which HU
    can have as "windows", and other slices only if they have been made so. Raises a
    FileNotFoundError or ValueError for a file or an array that is no slice, or has other channels.
    """
    if not isinstance(source, np.ndarray):
        check_slice(str(source), channels)
        return read_slice(str(source)), str(source)
    if source.dtype == np.uint8 and source.ndim == 3 and source.shape[2] == 3 and source.size:
        require_unlike(source, channels)
        return source, ""
    if source.ndim != 2 or not source.size or source.dtype.kind not in "iuf":
        raise ValueError(
            f"found an array of shape {source.shape} and type {source.dtype}, expected a slice: "
            "(H, W) or (H, W, 3) uint8, or (H, W) of HU; give a scan as a Volume"
        )
    if source.dtype == np.uint8:
        grey = np.repeat(source[..., np.newaxis], 3, axis=-1)
        require_unlike(grey, channels)
        return grey, ""
    problem = hu_problem(source) if np.isfinite(source).all() else "found NaN or infinity"
    if problem:
        raise ValueError(f"an array of type {source.dtype}: {problem}")
    own = Window.parse(LUNG if window is None else window)
    return slice_channels(source[np.newaxis], 0, own, channels), ""
