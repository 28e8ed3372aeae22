"""What a user points at -> scans, and sets of slices, to be predicted one after the other."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.images import IMAGE_SUFFIXES
from ..errors import ErrorPolicy, collecting
from ..volumes.dicom_grouping import group_series
from ..volumes.dicom_headers import SliceHeader, read_headers
from ..volumes.formats import VOLUME_FORMATS, is_image, natural_order, sort_files
from ..volumes.volume import Volume
from ..volumes.volume_files import read_volume
from ..volumes.window import Window
from ..wording import counted

_LONGEST = 200  # bytes, of the 255 that a name may have


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
    """

    name: str
    path: Path
    files: tuple[Path, ...] = ()
    is_scan: bool = True

    def read(self, window: Window, series: str | None, errors: ErrorPolicy) -> Volume:
        """Read a scan; see `read_volume`."""
        series = None if self.files else series  # files are of one series already
        return read_volume(self.path, files=self.files, series=series, window=window, errors=errors)

    def state(self) -> list[tuple[str, int, int]]:
        """Return names, sizes and times of its files, by which a changed input is known."""
        files: Iterable[Path] = self.files or [self.path]
        if self.path.suffix.lower() in (".mhd", ".nhdr"):  # the voxels are in files beside it
            files = sorted(self.path.parent.glob(f"{glob.escape(self.path.stem)}.*"))
        return file_states(files)


def file_states(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Return name, size and time of each file that is there."""
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
        out on purpose (scouts, reports, previews), a line each.
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
    series, damaged = _find_series(files.dicom, left_out)
    whole = sorted(files.volumes + files.zips, key=natural_order)
    found = [Input(stem_of(path), path) for path in whole] + series + damaged
    with_series = {path.parent for item in series for path in item.files}
    for parent, images in _by_folder(files.images).items():
        if parent in with_series:
            left_out.append(f"{parent}: {counted(len(images), 'image')} beside DICOM files")
        else:
            found.append(Input(folder_name(parent), parent, tuple(images), is_scan=as_scan))
    return found


def _find_series(dicom: list[Path], left_out: list[str]) -> tuple[list[Input], list[Input]]:
    """The CT series among DICOM files, and the files of each folder that belong to none.

    A damaged file goes to the series of its folder; reading it will tell.
    """
    headers = read_headers(dicom, collecting())
    groups = group_series(headers)
    unknown = set(dicom) - {header.path for header in headers}
    unknown |= {header.path for header in groups.pop("", [])}
    found = []
    for group in groups.values():
        axial = [header for header in group if not _beside_the_point(header)]
        if len(axial) < len(group):
            first = group[0]
            kind = first.identifiers.get("Modality", "no modality")
            description = first.identifiers.get("SeriesDescription", "no description")
            left_out.append(
                f"{first.path.parent}: {len(group) - len(axial)} files of the series "
                f"'{description}' ({kind}) are no axial CT slices"
            )
        if not axial:
            continue
        folders = {header.path.parent for header in axial}
        damaged = sorted(path for path in unknown if path.parent in folders)
        unknown.difference_update(damaged)
        path = Path(os.path.commonpath(folders))
        members = (*(header.path for header in axial), *damaged)
        found.append(Input(folder_name(path), path, members))
    alone = sorted(_by_folder(sorted(unknown)).items())
    return found, [Input(folder_name(folder), folder, tuple(files)) for folder, files in alone]


def _beside_the_point(header: SliceHeader) -> bool:
    """Scouts, dose reports, segmentations: what a study has beside its CT slices."""
    return header.localiser or header.identifiers.get("Modality", "CT") != "CT"


def _by_folder(files: Iterable[Path]) -> dict[Path, list[Path]]:
    folders: dict[Path, list[Path]] = {}
    for path in files:
        folders.setdefault(path.parent, []).append(path)
    return folders


def _named_apart(inputs: list[Input]) -> list[Input]:
    """Names that several inputs share get their folder in front, and then a number behind."""
    shared = {name for name, n in Counter(item.name for item in inputs).items() if n > 1}
    names = []
    for item in inputs:
        parent = folder_name(item.path.absolute().parent)
        names.append(f"{parent}_{item.name}" if item.name in shared and parent else item.name)
    apart = numbered_apart(names)
    return [replace(item, name=name) for item, name in zip(inputs, apart, strict=True)]


def stem_of(path: Path) -> str:
    """Return the name that the user knows a file by, without suffix (.nii.gz is one).

    A link keeps its own name; "." and ".." get that of the folder.
    """
    name = Path(os.path.abspath(path)).name
    return Path(name.removesuffix(".gz")).stem


def folder_name(path: Path) -> str:
    """Return the same of a folder: what looks like a suffix belongs to it."""
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
