"""The headers of DICOM files, and what makes a file unusable as a CT slice.

pydicom reads headers: it is tolerant, and stops before the pixels. SimpleITK decodes the pixels:
GDCM knows every transfer syntax, such as JPEG Lossless, for which pydicom needs a GPL plugin.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.images import cannot_open, what_else_it_is
from ..errors import ErrorPolicy
from ..extras import require
from ..library_warnings import collected_warnings
from ..limits import SLICE, limit_problem
from .dicom_pixel_data import PixelData
from .dicom_tags import read_numbers, read_tags, read_texts

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SERIES = "SeriesInstanceUID"
IDENTIFIERS = ("PatientID", "StudyInstanceUID", _SERIES, "SeriesDescription", "Modality")
# What differs between acquisitions, or reconstructions of one, that some series mix.
_ACQUISITION = (
    *("AcquisitionUID", "AcquisitionNumber", "AcquisitionDateTime", "AcquisitionTime"),
    *("TemporalPositionIndex", "TemporalPositionIdentifier", "ConvolutionKernel", "KVP"),
    *("NominalPercentageOfCardiacPhase", "ContrastBolusAgent", "ImageType", "SliceThickness"),
    *("FilterType", "ScanOptions", "ProtocolName", "ReconstructionDiameter", "SeriesTime"),
    *("SeriesNumber", "SeriesDescription", "ContentTime", "PatientName", "PatientBirthDate"),
)
_TAGS = [
    *IDENTIFIERS,
    *_ACQUISITION,
    *("SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID", "InstanceNumber"),
    *("NumberOfFrames", "SamplesPerPixel", "Rows", "Columns", "BitsAllocated"),
    *("GantryDetectorTilt", "PhotometricInterpretation"),
]
_DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class of a DICOMDIR, an index without pixels
_UNKNOWN_TEXT = re.compile("default encoding|replacement|unknown escape")  # pydicom's warnings
_TRUNCATED = "truncated or damaged; copy it again or remove it"
_STANDARD = "1.2.840.10008."  # how DICOM's own UIDs begin
_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"  # and with a further number the enhanced ones


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """The header of a DICOM file, in mm and the patient's LPS coordinates."""

    path: Path
    identifiers: dict[str, str]  # those of IDENTIFIERS that it has
    aside: str = ""  # what it is beside the slices: "localiser", ...; "" of a slice
    problem: str = ""  # why it is unusable and what to do; the rest is set only without one
    shape: tuple[int, int] = (0, 0)  # rows, columns
    spacing: tuple[float, float] = (0.0, 0.0)  # y, x: between rows and between columns
    position: np.ndarray = field(default_factory=lambda: np.zeros(3))  # of the first pixel's centre
    # (3, 3); columns of length 1: along a row, down a column, and the normal of both.
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))
    thickness: float = 0.0  # of the slice; 0 if unknown
    tilt: float = 0.0  # of the gantry, in degrees
    frame: str = ""  # FrameOfReferenceUID
    instance: str = ""  # SOPInstanceUID
    acquisition: dict[str, str] = field(default_factory=dict)  # those of _ACQUISITION that it has
    order: tuple[str, str, float] = ("", "", -1)  # of the acquisition: times and InstanceNumber

    @property
    def series(self) -> str:
        """The SeriesInstanceUID; "" if there is none."""
        return self.identifiers.get(_SERIES, "")

    @property
    def height(self) -> float:
        """The position along the slice's normal, in mm."""
        return float(self.position @ self.axes[:, 2])


def read_headers(files: Iterable[Path], errors: ErrorPolicy) -> list[SliceHeader]:
    """Read the headers of DICOM files, leaving out indexes (DICOMDIR) and what cannot be read."""
    require("ct", "pydicom")
    headers = []
    with collected_warnings() as warned:
        for path in files:
            try:
                with path.open("rb") as stream:
                    dataset, pixels = read_tags(stream, path, _TAGS)
                    stored_as = dataset.file_meta.get("MediaStorageSOPClassUID")
                    if _DIRECTORY not in (dataset.get("SOPClassUID"), stored_as):
                        headers.append(_header(path, dataset, pixels))
            # A damaged file makes pydicom raise anything, which all means the same to the user.
            except Exception as error:
                errors.handle(_cannot_read(path, error))
    # Of other warnings, what they are about is checked here (numbers), or of no use (dates).
    if said := next((text for text in warned if _UNKNOWN_TEXT.search(text)), ""):
        folder = headers[0].path.parent if headers else ""
        errors.note(
            f"{folder}: names and descriptions in the headers may be wrong, as their character set "
            f"is not what they say ({said}); pixels and places are not affected"
        )
    return headers


def _cannot_read(path: Path, error: Exception) -> Exception:
    if str(error).startswith(f"{path}: "):  # our own
        return error
    if isinstance(error, OSError) and error.errno is not None:  # the system's, not pydicom's
        return cannot_open(path, error)
    reason = what_else_it_is(path)
    if not reason:
        said = str(error).split(". ")[0] or type(error).__name__
        reason = f"{said}, {path.stat().st_size} bytes"
    return ValueError(
        f"{path}: cannot be read as DICOM ({reason}): damaged, or no DICOM file; copy it again or "
        "remove it"
    )


def _header(path: Path, dataset: "Dataset", pixels: PixelData) -> SliceHeader:
    identifiers = read_texts(dataset, IDENTIFIERS)
    acquisition = read_texts(dataset, _ACQUISITION)
    problem = _problem(dataset) or _pixel_problem(dataset, pixels)
    aside = _aside(dataset, problem)
    date, time = (acquisition.get(f"Acquisition{what}", "") for what in ("DateTime", "Time"))
    number = read_numbers(dataset, "InstanceNumber")
    header = SliceHeader(
        path,
        identifiers,
        aside,
        problem,
        frame=str(dataset.get("FrameOfReferenceUID") or ""),
        instance=str(dataset.get("SOPInstanceUID") or ""),
        acquisition=acquisition,
        order=(date, time, float(number[0]) if len(number) else -1.0),
    )
    return header if problem else _placed(header, dataset)


def _placed(header: SliceHeader, dataset: "Dataset") -> SliceHeader:
    """Add the place in the patient to the header of a slice."""
    row, column = _orientation(dataset)
    # Cosines are written with few digits. Making them orthonormal keeps exact ones exact.
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    y, x = (float(value) for value in read_numbers(dataset, "PixelSpacing"))
    spare = (read_numbers(dataset, tag) for tag in ("SliceThickness", "GantryDetectorTilt"))
    thickness, tilt = (float(values[0]) if len(values) else 0.0 for values in spare)
    return replace(
        header,
        shape=(int(dataset.Rows), int(dataset.Columns)),
        spacing=(y, x),
        position=read_numbers(dataset, "ImagePositionPatient"),
        axes=np.stack([row, column, np.cross(row, column)], axis=1),
        thickness=thickness,
        tilt=tilt,
    )


def _aside(dataset: "Dataset", problem: str) -> str:
    """Say what a file is beside the slices of a scan; "" if it is a slice, or may be one.

    A secondary capture that has everything of a CT slice is one: converters write them so.
    """
    from pydicom.uid import UID

    modality = str(dataset.get("Modality") or "CT")
    sop_class = str(dataset.get("SOPClassUID") or _CT_IMAGE)
    if _is_localiser(dataset):
        return "localiser"
    if modality != "CT":
        return f"of modality {modality}"
    if not problem or f"{sop_class}.".startswith(f"{_CT_IMAGE}."):
        return ""
    # That of a truncated file is neither known nor a vendor's.
    name, cut = UID(sop_class).name, _STANDARD.startswith(sop_class)
    known = name != sop_class or not (sop_class.startswith(_STANDARD) or cut)
    return f"({name})" if known else ""


def _is_localiser(dataset: "Dataset") -> bool:
    image_type = np.atleast_1d(dataset.get("ImageType") or "")
    return "LOCALIZER" in [str(part).strip().upper() for part in image_type]


def _problem(dataset: "Dataset") -> str:
    """Return why a file is no slice of a CT series, and what to do; "" if it is one."""
    modality = str(dataset.get("Modality") or "none")
    frames = int(dataset.get("NumberOfFrames") or 1)
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if modality != "CT":
        return f"found modality {modality}, expected CT: remove the file, or choose a CT series"
    if _is_localiser(dataset):
        return "found a localiser (scout), expected an axial slice: remove the file"
    if frames > 1:
        return (
            f"found {frames} frames in one file, expected a file for each slice: export it as "
            "classic CT, or convert it to NIfTI (e.g. with dcm2niix)"
        )
    if samples != 1:
        return (
            f"found {samples} samples per pixel (a colour image), expected HU: it is a screenshot "
            "or a secondary capture; use the original series"
        )
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":  # GDCM inverts its values
        return (
            "found PhotometricInterpretation MONOCHROME1, whose values programs invert or not, "
            "expected MONOCHROME2: use the original series"
        )
    if not (dataset.get("Rows") and dataset.get("Columns")):
        return "found no pixels (no Rows, Columns), expected a CT slice: copy it again or remove it"
    missing = [tag for tag in ("RescaleSlope", "RescaleIntercept") if _lacks(dataset, tag, 1)]
    if missing:
        return (
            f"no usable {_shown(dataset, missing)}, so values are not known in HU: use the "
            "original series, or set the tags if you know the scanner's values"
        )
    for tag, count in (("PixelSpacing", 2), ("ImagePositionPatient", 3)):
        if _lacks(dataset, tag, count):
            found = _shown(dataset, [tag])
            return f"no usable {found}, so the slice has no place in the patient: export it again"
    if _lacks(dataset, "ImageOrientationPatient", 6) or not _is_frame(dataset):
        return "no usable ImageOrientationPatient: up and right are unknown; export it again"
    return ""


def _pixel_problem(dataset: "Dataset", pixels: PixelData) -> str:
    """Return why the pixels of a slice cannot be read as what its header says; "" if they can."""
    number = int(dataset.Rows) * int(dataset.Columns)
    if too_many := limit_problem(number, SLICE):
        return too_many
    missing = pixels.problem(number * int(dataset.get("BitsAllocated") or 16) // 8)
    return f"cannot be decoded ({missing}): {_TRUNCATED}" if missing else ""


def _shown(dataset: "Dataset", tags: list[str]) -> str:
    found = read_texts(dataset, tags)
    return " and ".join(f"{tag} (found {found[tag]})" if tag in found else tag for tag in tags)


def _lacks(dataset: "Dataset", tag: str, count: int) -> bool:
    """Whether a tag is not `count` finite numbers, positive ones for a scale."""
    numbers = read_numbers(dataset, tag)
    if tag in ("PixelSpacing", "RescaleSlope") and (numbers <= 0).any():
        return True
    return numbers.shape != (count,)


def _orientation(dataset: "Dataset") -> np.ndarray:
    """(2, 3): the directions along a row and down a column."""
    return read_numbers(dataset, "ImageOrientationPatient").reshape(2, 3)


def _is_frame(dataset: "Dataset") -> bool:
    row, column = _orientation(dataset)
    lengths = (np.linalg.norm(row), np.linalg.norm(column))
    return bool(np.allclose(lengths, 1, atol=0.01) and abs(row @ column) < 0.01)
