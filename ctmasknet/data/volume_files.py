"""Any CT volume -> Volume: DICOM, NIfTI, MetaImage, NRRD, stacks of images, and zips of these."""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

from .dicom_headers import is_dicom
from .dicom_series import read_dicom
from .image_stack import read_image_stack
from .images import IMAGE_SUFFIXES
from .sitk_files import VOLUME_SUFFIXES, read_sitk, volume_suffix, write_volume
from .volume import Volume
from .window import Window

__all__ = ["read_volume", "write_volume"]


def read_volume(
    path: str | os.PathLike,
    *,
    series: str | None = None,
    window: str | Window | None = None,
    skipped: list[str] | None = None,
) -> Volume:
    """Read one CT volume.

    Args:
        path: a folder (of DICOM files at any depth, of images in the order of their names, or
            with one volume file), a zip of such a folder, a .nii, .nii.gz, .mha, .mhd, .nrrd or
            .nhdr file, or one DICOM file or image (a volume of one slice).
        series: SeriesInstanceUID to take of several in a DICOM folder.
        window: that 8-bit input is taken to have; None is the papers' ("lung"). HU have none.
        skipped: None: whatever is wrong raises. A list: what is wrong with parts of the volume is
            noted in it, and reading goes on without them; only a volume of which nothing can be
            used raises.

    Returns:
        The volume, upright, its lowest slice first; no larger in memory than twice its HU while
        it is read.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: what is wrong with which file, and what to do.
    """
    path = Path(path)
    window = None if window is None else Window.parse(window)
    noted: list[str] | None = None if skipped is None else []
    read = _read_zip if path.suffix.lower() == ".zip" and path.is_file() else _read
    try:
        return read(path, series, window, noted)
    finally:
        if skipped is not None and noted is not None:
            skipped += noted


def _read(
    path: Path, series: str | None, window: Window | None, skipped: list[str] | None
) -> Volume:
    if path.is_dir():
        return _read_folder(path, series, window, skipped)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder, expected a CT volume")
    if volume_suffix(path):
        return read_sitk(path, window=window, skipped=skipped)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return read_image_stack([path], path, window, skipped)
    if is_dicom(path):
        return read_dicom([path], path, series=series, skipped=skipped)
    raise ValueError(
        f"{path}: no CT volume, expected a folder or .zip of DICOM files or images, a DICOM file "
        f"or an image, or one of {', '.join(VOLUME_SUFFIXES)}"
    )


def _read_folder(
    folder: Path, series: str | None, window: Window | None, skipped: list[str] | None
) -> Volume:
    """A folder holds one kind of volume; only beside DICOM files images (previews) are ignored."""
    files = [
        path
        for path in sorted(folder.rglob("*"), key=_natural)
        if path.is_file() and not _hidden(path.relative_to(folder))
    ]
    volumes = [path for path in files if volume_suffix(path)]
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    dicom = [path for path in files if path not in {*volumes, *images} and is_dicom(path)]
    if len(volumes) + bool(dicom or images) > 1:
        others = "DICOM files" if dicom else "images"
        raise ValueError(
            f"{folder}: found {len(volumes)} volume files ({volumes[0].name}, ...)"
            f"{f' beside {others}' if dicom or images else ''}, expected one volume: name the file "
            "itself"
        )
    if volumes:
        return read_sitk(volumes[0], window=window, skipped=skipped)
    if dicom:
        return read_dicom(dicom, folder, series=series, skipped=skipped)
    if images:
        return read_image_stack(images, folder, window, skipped)
    raise ValueError(
        f"{folder}: found no CT volume among {len(files)} files, expected DICOM files, images "
        f"({', '.join(IMAGE_SUFFIXES)}), or one of {', '.join(VOLUME_SUFFIXES)}"
    )


def _read_zip(
    path: Path, series: str | None, window: Window | None, skipped: list[str] | None
) -> Volume:
    """As if it were a folder; files are named "scan.zip!folder/12.dcm" in messages."""
    with tempfile.TemporaryDirectory(prefix="ctmasknet-") as name:
        folder = Path(name, path.stem)  # named so for a volume without identifiers
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
        # RuntimeError: encrypted; the others: damaged, or compressed by an unusual method.
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise ValueError(
                f"{path}: cannot be unpacked ({error}): damaged or encrypted; zip it again without "
                "a password"
            ) from None

        def shown(text: str) -> str:
            return text.replace(f"{folder}{os.sep}", f"{path}!").replace(str(folder), str(path))

        try:
            volume = _read(folder, series, window, skipped)
        except ValueError as error:
            raise ValueError(shown(str(error))) from None
        finally:
            if skipped is not None:
                skipped[:] = map(shown, skipped)
    return replace(
        volume,
        source=path,
        slice_files=tuple(map(shown, volume.slice_files)),
        skipped=tuple(skipped or ()),
    )


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Sorts slice_2 before slice_10."""
    parts = re.split(r"(\d+)", str(path).lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _hidden(path: Path) -> bool:
    """Hidden files, and what macOS adds to a zip."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)
