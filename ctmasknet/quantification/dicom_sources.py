"""The DICOM files of a scan as highdicom needs them, for a segmentation that refers to them."""

import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pydicom
from highdicom import PatientSexValues, SpecificCharacterSetValues
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from pydicom.valuerep import DA, TM

from ..volumes.dicom_tags import lift_groups, mend_chinese, read_numbers
from ..volumes.volume import Volume

# Attributes that the standard lets be empty (type 2), and what parses their values.
_TYPE_2: dict[str, Callable[[Any], Any]] = {
    "PatientID": str,
    "PatientName": str,
    "PatientBirthDate": DA,
    "PatientSex": PatientSexValues,
    "AccessionNumber": str,
    "StudyID": str,
    "StudyDate": DA,
    "StudyTime": TM,
}


def read_sources(volume: Volume) -> list[Dataset]:
    """Read the header of each slice, completed and corrected as highdicom needs it."""
    files, inside = volume.slice_files, f"{volume.source}!"
    if all(name.startswith(inside) for name in files):
        headers = _read_zipped(volume.source, [name.removeprefix(inside) for name in files])
    else:
        headers = [pydicom.dcmread(name, stop_before_pixels=True, force=True) for name in files]
    for header in headers:
        lift_groups(header)
        mend_chinese(header)
        _in_known_characters(header)
        for name, read in _TYPE_2.items():
            setattr(header, name, _readable(read, header.get(name)))
        for tag in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"):
            setattr(header, tag, read_numbers(header, tag).tolist())
        # Rounding differs from slice to slice in some series; the reader has compared them.
        header.ImageOrientationPatient = headers[0].ImageOrientationPatient
        thickness = read_numbers(header, "SliceThickness")
        header.SliceThickness = thickness[0] if thickness.any() else volume.spacing[0]
        header.pop("SpacingBetweenSlices", None)  # often wrong; the positions tell
    return headers


def as_one_series(headers: Sequence[Dataset]) -> dict[str, tuple[str, str]]:
    """Make headers those of one classic CT series, as highdicom takes several slices of no other.

    Returns for each SOPInstanceUID the SOPClassUID and SeriesInstanceUID that it has. Raises a
    ValueError for several studies or frames of reference: a segmentation is of one.
    """
    for name in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if len({header.get(name) for header in headers}) > 1:
            raise ValueError(f"its slices have several {name}s")
    originals = {x.SOPInstanceUID: (x.SOPClassUID, x.SeriesInstanceUID) for x in headers}
    for header in headers:
        header.SOPClassUID = CTImageStorage
        header.SeriesInstanceUID = headers[0].SeriesInstanceUID
    return originals


def refer_to(segmentation: Dataset, originals: Mapping[str, tuple[str, str]]) -> None:
    """Let references name the SOP classes and the series that images have."""

    def name_class(item: Dataset, element: DataElement) -> None:
        if element.keyword == "ReferencedSOPInstanceUID":
            item.ReferencedSOPClassUID = originals[element.value][0]

    segmentation.walk(name_class)
    series: dict[str, list[Dataset]] = {}
    for image in segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence:
        series.setdefault(originals[image.ReferencedSOPInstanceUID][1], []).append(image)
    segmentation.ReferencedSeriesSequence = []
    for uid, images in series.items():
        item = Dataset()
        item.SeriesInstanceUID, item.ReferencedInstanceSequence = uid, images
        segmentation.ReferencedSeriesSequence.append(item)


def _in_known_characters(header: Dataset) -> None:
    """Turn texts to UTF-8 if highdicom does not know their character sets.

    It takes no empty first value (ASCII), as Japanese, Korean and Chinese sets have.
    """
    value = header.get("SpecificCharacterSet")
    if value is None:
        return
    try:
        for name in [value] if isinstance(value, str) else value:
            SpecificCharacterSetValues(name)
    except ValueError:
        header.decode()
        header.SpecificCharacterSet = "ISO_IR 192"


def _read_zipped(source: str | os.PathLike, members: Sequence[str]) -> list[Dataset]:
    """Read headers of files in a zip, by the names that they have once unpacked."""
    with zipfile.ZipFile(source) as archive:
        unpacked = {
            "/".join(part for part in info.filename.split("/") if part not in ("", ".", "..")): info
            for info in archive.infolist()
        }
        streams = (archive.open(unpacked[name]) for name in members)
        return [pydicom.dcmread(stream, stop_before_pixels=True, force=True) for stream in streams]


def _readable(read: Callable[[Any], Any], value: Any) -> Any:
    """Return the value, or "" for what anonymisers leave and the standard does not allow."""
    try:
        read(value)
    except (TypeError, ValueError):
        return ""
    return "" if value is None else value
