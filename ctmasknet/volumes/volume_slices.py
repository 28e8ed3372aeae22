"""CT volumes -> a folder of 8-bit slices and the image list that training and prediction read."""

import os
import shutil
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..csv_cells import write_rows
from ..data.channels import GREY, write_channels
from ..data.lesion_masks import describe_coco, write_coco
from ..data.list_files import COLUMNS
from ..data.slice_labels import read_slice_columns, slice_key
from ..data.window import Window
from ..errors import RAISE, ErrorPolicy
from ..lung import Box, FieldOfView, find_lung, has_lung
from ..pseudonyms import Names
from ..wording import counted
from .lesion_slices import LesionSlices
from .volume import Volume
from .volume_files import read_volume
from .volume_list import VolumeEntry

_FOLDER, _LIST, LESIONS = "slices", "slices.csv", "lesions.json"
_LONGEST = 255  # bytes in a file's name, on the usual file systems


def write_slices(
    entries: Sequence[VolumeEntry],
    output: Path,
    *,
    window: str | Window = "lung",
    series: str | None = None,
    field_of_view: str = "image",
    slice_labels: Path | None = None,
    channels: str = GREY,
    lesions: LesionSlices | None = None,
    errors: ErrorPolicy = RAISE,
    overwrite: bool = False,
    names: Names | None = None,
) -> str:
    """Write slices/{scan}/{z:04d}.png (8-bit grey, 0000 is the lowest) and slices.csv.

    With the field of view "body" or "lung" (see `FieldOfView`) the slices of a scan are cropped to
    one box, and with "lung" those without lung are left out; the others keep their z. A scan in
    which no lung is found is then a bad volume.

    With other `channels` than grey (see `data.channels.slice_channels`) the slices are RGB.

    With `lesions`, which has the masks of the volumes, the list is lesions.json, a COCO file.

    The columns of `slice_labels` (see `read_slice_columns`) are written beside the slices of the
    files that it lists. A scan of which it lists none is then a bad volume.

    With `names` patients and scans, also those that entries name, are called by pseudonyms, which
    are saved.

    Slices are written whole or not at all, into a new or empty folder, or with `overwrite` in place
    of an earlier run's. An existing folder stays itself, as it may be a working directory. Bad
    volumes, and bad parts of good ones, are errors to handle; a full disk is an OSError.

    Returns:
        A table: scan, slices, size, spacing, window and box of each volume.
    """
    window, field = Window.parse(window), FieldOfView(field_of_view)
    _check_output(output, overwrite)
    labels = _SliceLabels(slice_labels)
    target = output.resolve()  # "." has no name
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = f".{target.name}.{os.getpid()}"
    root = target / partial if target.exists() else target.with_name(partial)
    table = [f"{'slices':>6}  {'size':<12}{'spacing z,y,x (mm)':<24}{'window':<12}scan"]
    rows: dict[str, list[tuple[str, ...]]] = {}  # scan -> lines of the list
    try:
        for entry in tqdm(entries, desc="volumes", unit="volume", disable=None):
            try:
                volume = read_volume(
                    entry.path,
                    files=entry.files,
                    series=None if entry.files else series,
                    window=window,
                    errors=errors,
                )
                mask = lesions and lesions.read(entry.name, entry.mask, volume)
                if names:
                    entry = _hidden(entry, volume, names)
                scan = _free_name(entry, volume, rows)
                part = _find_part(volume, field)
                labels.check(volume)
                chosen = volume.window_for(window)
                volume.slice(0, chosen, channels)  # it may not have them
            except (ValueError, FileNotFoundError) as error:
                place = f"{entry.place}: " if entry.place else ""
                said = f"{place}{error}"
                errors.handle(type(error)(names.reveal(said) if names else said))
                continue
            rows[scan] = _write_volume(volume, part, entry, scan, root, chosen, channels, labels)
            if lesions and mask:
                kept = [*zip(part.numbers, (line[0] for line in rows[scan]), strict=True)]
                lesions.add(
                    scan, entry.patient or volume.patient, volume, mask, part.box, kept, errors
                )
            line = _describe(volume, part, scan, chosen)
            table.append(f"{line}: {entry.path}" if names else line)
        if not rows:
            raise ValueError(
                f"{output}: nothing to write, all {len(entries)} volumes are unusable; the first: "
                f"{errors.first}"
            )
        if lesions:
            table.append(describe_coco(coco := lesions.coco()))
            write_coco(coco, root / LESIONS)
            lesions.describe_unused(errors)
        else:
            with (root / _LIST).open("w", newline="", encoding="utf-8") as stream:
                head = (*COLUMNS, *labels.columns)
                write_rows(stream, [head, *chain.from_iterable(rows.values())])
        if names:
            names.save()
        _put_in_place(root, target)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return "\n".join(table)


def _hidden(entry: VolumeEntry, volume: Volume, names: Names) -> VolumeEntry:
    """Return an entry with pseudonyms of its patient and scan."""
    patient = names.of("patient", entry.patient or volume.patient)
    return replace(entry, patient=patient, scan=names.of("scan", entry.scan or volume.scan))


def _put_in_place(root: Path, target: Path) -> None:
    """Make a finished folder the target, or its content the target's."""
    if not target.exists():
        root.rename(target)
        return
    for name in (_LIST, LESIONS):
        (target / name).unlink(missing_ok=True)
    if (target / _FOLDER).exists():
        shutil.rmtree(target / _FOLDER)
    for name in (_FOLDER, _LIST, LESIONS):  # the list last: where it is, the slices are
        if (root / name).exists():
            (root / name).rename(target / name)


class _SliceLabels:
    """Columns of a CSV for the slices of scans, or none."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._rows = path, read_slice_columns(path) if path else {}
        first = next(iter(self._rows.values()), {})
        self.columns = [name for name in first if name not in COLUMNS]

    def check(self, volume: Volume) -> None:
        """Raise a ValueError if slices have labels, but none of this volume."""
        if self._path and not any(slice_key(x) in self._rows for x in volume.slice_files):
            files = [*map(slice_key, volume.slice_files)]
            found = f", whose first is {files[0]}" if files else ", which is one file"
            raise ValueError(f"{volume.source}: {self._path} lists none of its slices{found}")

    def of(self, volume: Volume, z: int) -> list[str]:
        """Return the columns of a slice, empty where it is not listed."""
        row = self._rows.get(slice_key(volume.slice_files[z]), {}) if self._path else {}
        return [row.get(name, "") for name in self.columns]


@dataclass(frozen=True)
class _Part:
    """What is written of a volume."""

    box: Box  # of all its slices
    numbers: list[int]  # z of its slices


def _find_part(volume: Volume, field: FieldOfView) -> _Part:
    """Find the box of the field of view and the slices with what it is of; a ValueError: none."""
    spacing = volume.spacing if volume.measured else None
    lung, kept = None, np.ones(len(volume), bool)
    if field.kind == "lung":
        try:
            lung = find_lung(volume.hu, spacing)
        except ValueError as error:
            found = str(error).partition(";")[0]
            advice = "leave it out, or take it whole (field of view: image)"
            raise ValueError(f"{volume.source}: {found}; {advice}") from None
        kept = has_lung(lung.mask, spacing)
    height, width = volume.hu.shape[1:]
    box = field.find(volume.hu, spacing, lung) or (0, 0, width, height)
    return _Part(box, np.flatnonzero(kept).tolist())


def _write_volume(
    volume: Volume,
    part: _Part,
    entry: VolumeEntry,
    scan: str,
    root: Path,
    window: Window,
    channels: str,
    labels: "_SliceLabels",
) -> list[tuple[str, ...]]:
    """Write a volume's slices; return their lines of the list."""
    (root / _FOLDER / scan).mkdir(parents=True)
    lines: list[tuple[str, ...]] = []
    x0, y0, x1, y1 = part.box
    for z in part.numbers:
        file = f"{_FOLDER}/{scan}/{z:04d}.png"
        if channels != GREY:
            image = volume.slice(z, window, channels)[y0:y1, x0:x1]
            write_channels(root / file, image, channels)
        elif not cv2.imwrite(str(root / file), window.to_uint8(volume.hu[z, y0:y1, x0:x1])):
            raise OSError(f"{root / file}: cannot be written; is the disk full?")
        known = (file, entry.label, entry.patient or volume.patient, scan)
        lines.append((*known, *labels.of(volume, z)))
    return lines


def _describe(volume: Volume, part: _Part, scan: str, window: Window) -> str:
    x0, y0, x1, y1 = part.box
    size, left_out = f"{y1 - y0} x {x1 - x0}", len(volume) - len(part.numbers)
    notes = [scan]
    if (y1 - y0, x1 - x0) != volume.hu.shape[1:]:
        notes.append(f"x {x0} to {x1 - 1} and y {y0} to {y1 - 1} of each slice")
    if left_out:
        notes.append(f"{counted(left_out, 'slice')} without lung left out")
    spacing = ", ".join(f"{mm:.4g}" for mm in volume.spacing) if volume.measured else "unknown"
    return f"{len(part.numbers):>6}  {size:<12}{spacing:<24}{window!s:<12}{', '.join(notes)}"


def _free_name(entry: VolumeEntry, volume: Volume, taken: Container[str]) -> str:
    """Return the scan's name if a folder can have it and it is not taken."""
    scan = entry.scan or volume.scan
    called = f"scan '{scan}'" if entry.place else f"{entry.path}: scan '{scan}'"
    if scan in (".", "..") or set(scan) & set("/\\:\0") or len(os.fsencode(scan)) > _LONGEST:
        raise ValueError(
            f"{called}: expected a name for a folder, without / \\ and :, of at most {_LONGEST} "
            "bytes"
        )
    if scan in taken:
        raise ValueError(
            f"{called}: a volume of this name came before; give each its own in a list (CSV "
            f"{','.join(COLUMNS)})"
        )
    return scan


def _check_output(output: Path, overwrite: bool) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise ValueError(f"{output}: is a file, expected a folder to write the slices to")
    found = sorted(path.name for path in output.iterdir())
    if found and not overwrite:
        raise ValueError(
            f"{output}: found {len(found)} entries, expected an empty or new folder; choose "
            "another one or pass --overwrite"
        )
    foreign = [name for name in found if name not in (_FOLDER, _LIST, LESIONS)]
    if foreign:
        raise ValueError(f"{output}: found {foreign[0]}, which this command did not write")
