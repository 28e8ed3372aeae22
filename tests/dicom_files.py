"""Small CT series and volumes for tests, written as DICOM and by SimpleITK."""

import os
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

_DATA = os.environ.get("CTMASKNET_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
COVID_CT_MD = Path(_DATA, "covid_ct_md")
SIZE = 16
INTERCEPT = -1024
ORIGIN = (-50.0, -60.0, -100.0)  # x, y, z


def lung_hu(slices=8):
    """(Z, SIZE, SIZE) int16 HU in LPS, no symmetry: every slice tells its number and its corners.

    A bright square lies at the patient's right front ([2:5, 2:7]: rows from the front, columns from
    the right), and a voxel's value grows with z.
    """
    hu = np.full((slices, SIZE, SIZE), -850, np.int16)
    hu += np.arange(slices, dtype=np.int16)[:, None, None] * 10
    hu[:, 2:5, 2:7] = 40
    hu[:, 12, 12] = -1000
    return hu


def write_series(folder, hu, axes=None, step=2.0, names=None, **tags):
    """Write (Z, Y, X) HU given in LPS as files of `folder`, as a scanner with these axes stores it.

    Args:
        axes: (row direction, column direction) of the files' images in LPS, by default those of
            the array; each is a unit vector along a patient axis of the axial plane, x or y.
        step: in mm from slice to slice.
        names: of the files from the lowest slice up.
        tags: set in every file; None deletes one.

    Returns:
        The paths from the lowest slice up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    row, column = (np.array(axis, float) for axis in axes or ((1, 0, 0), (0, 1, 0)))
    series = generate_uid()
    paths = []
    for z, pixels in enumerate(hu):
        position = np.array([-50.0, -60.0, -100.0 + step * z])
        if row[0] < 0:
            pixels, position[0] = pixels[:, ::-1], position[0] + 0.7 * (SIZE - 1)
        if column[1] < 0:
            pixels, position[1] = pixels[::-1], position[1] + 0.7 * (SIZE - 1)
        name = names[z] if names else f"{z:03d}.dcm"
        paths.append(folder / name)
        values = {
            "SeriesInstanceUID": series,
            "ImagePositionPatient": position.tolist(),
            "ImageOrientationPatient": [*row, *column],
            **tags,
        }
        write_slice(paths[-1], pixels, **values)
    return paths


def write_slice(path, hu, **tags):
    """Write one CT file of (Y, X) HU; tags as for `write_series`."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    values = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PatientID": "p7",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "SeriesDescription": "lung",
        "PixelSpacing": [0.7, 0.7],
        "SliceThickness": 1.5,
        "ImagePositionPatient": [0, 0, 0],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "RescaleSlope": 1,
        "RescaleIntercept": INTERCEPT,
        "Rows": hu.shape[0],
        "Columns": hu.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        **tags,
    }
    for tag, value in values.items():
        if value is not None:
            setattr(dataset, tag, value)
    stored = (hu - (tags.get("RescaleIntercept") or INTERCEPT)) / (tags.get("RescaleSlope") or 1)
    dataset.PixelData = np.rint(stored).astype(np.int16).tobytes()
    dataset.save_as(path, enforce_file_format=True)


def edit_tags(path, **tags):
    """Set tags of a DICOM file; None deletes one."""
    dataset = pydicom.dcmread(path)
    for tag, value in tags.items():
        if value is None:
            delattr(dataset, tag)
        else:
            setattr(dataset, tag, value)
    dataset.save_as(path)


ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
_IN_GROUPS = {  # of all frames, of each frame
    "SharedFunctionalGroupsSequence": {
        "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
        "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    },
    "PerFrameFunctionalGroupsSequence": {
        "PlanePositionSequence": ("ImagePositionPatient",),
        "PlaneOrientationSequence": ("ImageOrientationPatient",),
    },
}


def as_enhanced(folder):
    """Make the files of a series enhanced CT of one frame each; returns the folder."""
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = ENHANCED_CT
        dataset.NumberOfFrames = 1
        for groups, sequences in _IN_GROUPS.items():
            group = pydicom.Dataset()
            for sequence, tags in sequences.items():
                item = pydicom.Dataset({dataset[tag].tag: dataset[tag] for tag in tags})
                setattr(group, sequence, [item])
                for tag in tags:
                    delattr(dataset, tag)
            setattr(dataset, groups, [group])
        dataset.save_as(path)
    return folder


def image_of(array, spacing=(0.7, 0.7, 2.0)):
    """(Z, Y, X) values as SimpleITK's image, at ORIGIN."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(ORIGIN)
    return image


def save_volume(path, array):
    """Write (Z, Y, X) values in the format of a path's suffix; returns the path."""
    sitk.WriteImage(image_of(array), str(path))
    return path
