"""The headers of DICOM files, and what makes a file unusable as a CT slice.

pydicom reads headers: it is tolerant, and stops before the pixels. SimpleITK decodes the pixels:
GDCM knows every transfer syntax, such as JPEG Lossless, for which pydicom needs a GPL plugin.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.images import cannot_open, what_else_it_is
from ..errors import ErrorPolicy
from ..extras import require

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SERIES = "SeriesInstanceUID"
IDENTIFIERS = ("PatientID", "StudyInstanceUID", _SERIES, "SeriesDescription", "Modality")
_TAGS = [
    *IDENTIFIERS,
    *("SOPClassUID", "ImageType", "NumberOfFrames", "SamplesPerPixel", "Rows", "Columns"),
    *("PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient"),
    *("RescaleSlope", "RescaleIntercept", "GantryDetectorTilt"),
]
_DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class of a DICOMDIR, an index without pixels


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """The header of a DICOM file, in mm and the patient's LPS coordinates."""

    path: Path
    identifiers: dict[str, str]  # those of IDENTIFIERS that it has
    localiser: bool = False  # a scout or topogram, by its ImageType
    problem: str = ""  # why it is unusable and what to do; the rest is set only without one
    shape: tuple[int, int] = (0, 0)  # rows, columns
    spacing: tuple[float, float] = (0.0, 0.0)  # y, x: between rows and between columns
    position: np.ndarray = field(default_factory=lambda: np.zeros(3))  # of the first pixel's centre
    # (3, 3); columns of length 1: along a row, down a column, and the normal of both.
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))
    thickness: float = 0.0  # of the slice; 0 if unknown
    tilt: float = 0.0  # of the gantry, in degrees

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
    import pydicom

    headers = []
    for path in files:
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
            stored_as = dataset.file_meta.get("MediaStorageSOPClassUID")
            if _DIRECTORY not in (dataset.get("SOPClassUID"), stored_as):
                headers.append(_header(path, dataset))
        # A damaged file makes pydicom raise anything, which all means the same to the user.
        except Exception as error:
            errors.handle(_cannot_read(path, error))
    return headers


def _cannot_read(path: Path, error: Exception) -> ValueError:
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


def _header(path: Path, dataset: "Dataset") -> SliceHeader:
    identifiers = {name: str(dataset.get(name) or "").strip() for name in IDENTIFIERS}
    identifiers = {name: value for name, value in identifiers.items() if value}
    image_type = [str(part).strip().upper() for part in np.atleast_1d(dataset.get("ImageType", ""))]
    localiser = "LOCALIZER" in image_type
    problem = _problem(dataset, localiser)
    if problem:
        return SliceHeader(path, identifiers, localiser, problem)
    row, column = _orientation(dataset)
    # Cosines are written with few digits. Making them orthonormal keeps exact ones exact.
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    y, x = (float(value) for value in dataset.PixelSpacing)
    return SliceHeader(
        path,
        identifiers,
        shape=(int(dataset.Rows), int(dataset.Columns)),
        spacing=(y, x),
        position=np.array(dataset.ImagePositionPatient, float),
        axes=np.stack([row, column, np.cross(row, column)], axis=1),
        thickness=float(dataset.get("SliceThickness") or 0.0),
        tilt=float(dataset.get("GantryDetectorTilt") or 0.0),
    )


def _problem(dataset: "Dataset", localiser: bool) -> str:
    """Return why a file is no slice of a CT series, and what to do; "" if it is one."""
    modality = str(dataset.get("Modality") or "none")
    frames = int(dataset.get("NumberOfFrames") or 1)
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if modality != "CT":
        return f"found modality {modality}, expected CT: remove the file, or choose a CT series"
    if localiser:
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
    if not (dataset.get("Rows") and dataset.get("Columns")):
        return "found no pixels (no Rows, Columns), expected a CT slice: copy it again or remove it"
    missing = [tag for tag in ("RescaleSlope", "RescaleIntercept") if _lacks(dataset, tag, 1)]
    if missing:
        return (
            f"no usable {' and '.join(missing)}, so values are not known in HU: use the original "
            "series, or set the tags if you know the scanner's values"
        )
    for tag, count in (("PixelSpacing", 2), ("ImagePositionPatient", 3)):
        if _lacks(dataset, tag, count):
            return f"no usable {tag}, so the slice has no place in the patient: export it again"
    if _lacks(dataset, "ImageOrientationPatient", 6) or not _is_frame(dataset):
        return "no usable ImageOrientationPatient: up and right are unknown; export it again"
    return ""


def _lacks(dataset: "Dataset", tag: str, count: int) -> bool:
    """Whether a tag is not `count` finite numbers, positive ones for a scale."""
    value = dataset.get(tag)
    numbers = np.atleast_1d(np.array([] if value in (None, "") else value, float))
    if tag in ("PixelSpacing", "RescaleSlope") and (numbers <= 0).any():
        return True
    return numbers.shape != (count,) or not bool(np.isfinite(numbers).all())


def _orientation(dataset: "Dataset") -> np.ndarray:
    """(2, 3): the directions along a row and down a column."""
    return np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)


def _is_frame(dataset: "Dataset") -> bool:
    row, column = _orientation(dataset)
    lengths = (np.linalg.norm(row), np.linalg.norm(column))
    return bool(np.allclose(lengths, 1, atol=0.01) and abs(row @ column) < 0.01)
