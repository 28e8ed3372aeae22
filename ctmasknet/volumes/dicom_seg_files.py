"""DICOM Segmentations as masks of a scan.

Shapes: F frames of R x C pixels; Z, Y, X are the axes of the scan, upright.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.classes import MaskValues
from ..data.images import require_readable
from ..data.mask_rule import BACKGROUND
from ..extras import require
from ..library_warnings import collected_warnings
from ..limits import SCAN, check_limit
from .label_files import describe_geometry
from .volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"  # Segmentation Storage
_OFF = 0.5  # pixels, and steps between slices, that a frame's corners may be off


def referenced_series(path: Path) -> set[str] | None:
    """Return the SeriesInstanceUIDs that a segmentation refers to; None of any other file."""
    require("ct", "pydicom")
    try:
        dataset = _read(path, stop_before_pixels=True)
        if dataset.get("SOPClassUID") != _SOP_CLASS:
            return None
        return {str(x.SeriesInstanceUID) for x in dataset.get("ReferencedSeriesSequence", ())}
    except Exception:  # damaged, it may raise anything
        return None


def read_seg(
    path: Path, volume: Volume, values: MaskValues | None = None
) -> tuple[np.ndarray, MaskValues]:
    """Read a binary segmentation of a volume, each frame by its place in the patient.

    Args:
        path: the file.
        volume: the scan.
        values: the classes of segments by their numbers; None takes the segments' labels, or their
            descriptions where segments are single lesions ("GGO 3", described as "GGO").

    Returns:
        (Z, Y, X) uint8, and what the values in it mean.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no binary segmentation, segments without a usable class, frames that do not lie
            on the volume's slices, or segments of several classes that overlap.
    """
    require("ct", "pydicom")
    require_readable(path)
    if not volume.even:
        raise ValueError(
            f"{path}: slices of the scan {volume.source} are missing or their steps differ, so "
            "frames cannot be told by their places: give the mask as NIfTI"
        )
    try:
        dataset = _read(path)
        if dataset.get("SOPClassUID") != _SOP_CLASS or dataset.SegmentationType != "BINARY":
            kind = dataset.get("SegmentationType", "none")
            raise ValueError(f"its type is {kind}, expected a BINARY segmentation")
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        frames = list(dataset.PerFrameFunctionalGroupsSequence)
        check_limit(path, len(frames) * rows * columns, SCAN)
        class_of = {int(x.SegmentNumber): _class_of(x, values) for x in dataset.SegmentSequence}
        meaning = MaskValues(dict(enumerate(dict.fromkeys(class_of.values()), start=1)))
        with collected_warnings():
            pixels = dataset.pixel_array.reshape(len(frames), rows, columns)
        all_groups = _groups(dataset, frames)
    except Exception as error:  # damaged, it may raise anything
        reason = str(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path}: cannot be read as a DICOM segmentation ({reason})") from None
    value_of = {name: value for value, name in meaning.names.items()}
    labels = np.zeros(volume.hu.shape, np.uint8)
    for frame, groups in zip(pixels, all_groups, strict=True):
        try:
            number = int(groups["SegmentIdentificationSequence"].ReferencedSegmentNumber)
            name = class_of[number]
            position = _numbers(groups["PlanePositionSequence"].ImagePositionPatient, 3)
            cosines = _numbers(groups["PlaneOrientationSequence"].ImageOrientationPatient, 6)
            spacing = _numbers(groups["PixelMeasuresSequence"].PixelSpacing, 2)
        except Exception as error:
            raise ValueError(f"{path}: a frame lacks its place or segment ({error})") from None
        if name == BACKGROUND:  # such as the lung, which lesions lie in
            continue
        value = value_of[name]
        steps = cosines.reshape(2, 3) * spacing[::-1, np.newaxis]
        z, turned = _on_slice(path, volume, frame, position, steps)
        inside, own = turned > 0, labels[z]
        if other := set(np.unique(own[inside]).tolist()) - {0, value}:
            shared = f"{name} and {meaning.names[min(other)]}"
            raise ValueError(
                f"{path}: segments of {shared} overlap in slice {z}: a voxel has one class; make "
                "them disjoint"
            )
        own[inside] = value
    return labels, meaning


def _class_of(segment: "Dataset", values: MaskValues | None) -> str:
    number, label = int(segment.SegmentNumber), str(segment.SegmentLabel)
    if values:
        if number not in values.names:
            raise ValueError(f"segment {number} ({label}) is not named by --values")
        return values.names[number]
    described = str(segment.get("SegmentDescription", ""))
    single = described and label.rpartition(" ")[2] == str(number)
    return described if single and described.startswith(label.rpartition(" ")[0]) else label


def _read(path: Path, **options: Any) -> "Dataset":
    import pydicom

    with collected_warnings():
        return pydicom.dcmread(path, force=True, **options)


def _groups(dataset: "Dataset", frames: list["Dataset"]) -> list[dict[str, "Dataset"]]:
    """Return keyword -> first item of the functional groups of each frame, with those shared."""
    shared = _items(dataset.get("SharedFunctionalGroupsSequence", [None])[0])
    return [{**shared, **_items(frame)} for frame in frames]


def _items(groups: "Dataset | None") -> dict[str, "Dataset"]:
    return {x.keyword: x.value[0] for x in groups or () if x.VR == "SQ" and len(x.value)}


def _numbers(values: Any, count: int) -> np.ndarray:
    numbers = np.array(values, float)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"found {values}, expected {count} numbers")
    return numbers


def _on_slice(
    path: Path, volume: Volume, frame: np.ndarray, position: np.ndarray, steps: np.ndarray
) -> tuple[int, np.ndarray]:
    """Return the slice that a frame (R, C) lies on, and the frame turned as the slice (Y, X).

    `steps` (2, 3) are those along a row and down a column in mm.
    """
    rows, columns = frame.shape
    far = steps * np.array([[columns - 1], [rows - 1]])
    corners = position + [np.zeros(3), far[0], far[1]]
    places = (corners - volume.origin) @ volume.direction / volume.spacing[::-1]  # x, y, z
    first, along, down = places
    z = round(float(first[2]))
    swapped = abs(along[1] - first[1]) > abs(along[0] - first[0])
    turned = frame.T if swapped else frame
    ends = (down, along) if swapped else (along, down)  # where x, and where y, has its other end
    flips = [ends[1][1] < first[1], ends[0][0] < first[0]]  # of y, x
    turned = turned[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
    depth, height, width = volume.hu.shape
    low, high = places.min(axis=0)[:2], places.max(axis=0)[:2]
    off = [*np.abs(low), *np.abs(high - [width - 1, height - 1]), *np.abs(places[:, 2] - z)]
    if turned.shape != (height, width) or not 0 <= z < depth or max(off) > _OFF:
        raise ValueError(
            f"{path}: found a frame of {rows} x {columns} pixels at x, y, z = "
            f"{position.round(1).tolist()} mm with steps of {steps.round(3).tolist()} mm; expected "
            f"one on a slice of the scan {volume.source}, {describe_geometry(volume)}: make the "
            "segmentation of this series, or resample it"
        )
    return z, turned
