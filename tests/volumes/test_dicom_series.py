"""DICOM series: order, orientation and HU; real files in several codings."""

import os
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
import SimpleITK as sitk
from dicom_files import COVID_CT_MD, edit_tags, write_series, write_slice

from ctmasknet.errors import collecting
from ctmasknet.volumes.formats import is_dicom
from ctmasknet.volumes.volume_files import read_volume

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

PYDICOM_FILES = Path(os.path.dirname(pydicom.data.__file__), "test_files")


def test_a_series(folder, hu):
    volume = read_volume(folder)
    assert volume.hu.dtype == np.int16
    assert np.array_equal(volume.hu, hu)
    assert volume.spacing == (2.0, 0.7, 0.7)
    assert volume.origin == (-50.0, -60.0, -100.0)
    assert np.array_equal(volume.direction, np.eye(3))
    assert volume.patient == "p7"
    assert volume.scan == volume.identifiers["SeriesInstanceUID"]
    assert volume.identifiers["SeriesDescription"] == "lung"
    assert [Path(file).name for file in volume.slice_files] == [f"{z:03d}.dcm" for z in range(8)]
    assert volume.source == folder and volume.windowed is None and volume.measured
    # By hand: the bright square is at the patient's right (left of the picture), in front (up).
    assert volume.slice(0)[3, 4].tolist() == [236] * 3  # (40 + 1350) * 0.17
    assert volume.slice(0)[3, 11].tolist() == [85] * 3  # (-850 + 1350) * 0.17


@pytest.mark.parametrize(
    "axes",
    [
        ((1, 0, 0), (0, 1, 0)),  # supine
        ((-1, 0, 0), (0, -1, 0)),  # prone, as seen
        ((-1, 0, 0), (0, 1, 0)),  # seen from the head: its normal points to the feet
        ((1, 0, 0), (0, -1, 0)),
    ],
)
@pytest.mark.parametrize("names", [None, [f"{8 - z}.dcm" for z in range(8)]])
def test_upright_and_from_feet_to_head_whatever_the_files_say(tmp_path, hu, axes, names):
    paths = write_series(tmp_path, hu, axes, names=names)
    for number, path in enumerate(paths):
        edit_tags(path, InstanceNumber=(5 * number) % 8)
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.hu, hu)
    assert np.allclose(volume.origin, (-50, -60, -100))
    assert np.allclose(volume.direction, np.eye(3))
    assert list(volume.slice_files) == [str(path) for path in paths]


def test_oblique_series_is_ordered_along_its_normal(tmp_path, hu):
    angle = np.radians(15)
    column = np.array([0, np.cos(angle), np.sin(angle)])
    normal = np.array([0, -np.sin(angle), np.cos(angle)])
    for z, pixels in enumerate(hu):
        write_slice(
            tmp_path / f"{z}.dcm",
            pixels,
            ImageOrientationPatient=[1, 0, 0, *np.round(column, 6)],
            ImagePositionPatient=np.round(2 * z * normal, 5).tolist(),
        )
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.hu, hu)
    assert volume.spacing[0] == pytest.approx(2, abs=1e-4)
    assert np.allclose(volume.direction[:, 2], normal, atol=1e-5)


def test_hu_follow_the_rescale_tags(tmp_path, hu):
    write_series(tmp_path / "offset", hu, RescaleIntercept=-8192, RescaleSlope=1)
    assert np.array_equal(read_volume(tmp_path / "offset").hu, hu)
    write_series(tmp_path / "half", hu, RescaleSlope=0.5)
    volume = read_volume(tmp_path / "half")
    assert volume.hu.dtype == np.int16 and np.array_equal(volume.hu, hu)  # whole: stays int16
    write_series(tmp_path / "broken", hu - 0.25, RescaleSlope=0.25)
    volume = read_volume(tmp_path / "broken")
    assert volume.hu.dtype == np.float32 and np.array_equal(volume.hu, hu - 0.25)


def test_every_third_slice_of_a_series_is_even(tmp_path, hu):
    paths = write_series(tmp_path, hu)
    for z, path in enumerate(paths):
        edit_tags(path, InstanceNumber=z)
        if z % 3:
            path.unlink()
    assert read_volume(tmp_path).spacing[0] == 6.0


def test_one_file_is_one_slice(folder, hu):
    volume = read_volume(folder / "004.dcm")
    assert np.array_equal(volume.hu, hu[4:5])
    assert volume.spacing == (1.5, 0.7, 0.7)


def test_pydicoms_ct_files_in_several_codings():
    volume = read_volume(PYDICOM_FILES / "CT_small.dcm")
    expected = pydicom.dcmread(PYDICOM_FILES / "CT_small.dcm").pixel_array.astype(int) - 1024
    assert np.array_equal(volume.hu[0], expected)
    # JPEG 2000, lossy; pydicom itself has no decoder for it.
    volume = read_volume(PYDICOM_FILES / "693_J2KI.dcm")
    assert volume.hu.shape == (1, 512, 512) and volume.patient
    with pytest.raises(ValueError, match="gantry tilt of -22"):
        read_volume(PYDICOM_FILES / "J2K_pixelrep_mismatch.dcm")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("MR_small.dcm", "modality MR"),
        ("MR_truncated.dcm", "modality MR"),
        ("SC_rgb_jpeg.dcm", "modality OT"),
        ("rtplan.dcm", "modality RTPLAN"),
        ("JPEGLSNearLossless_16.dcm", "modality none"),
        ("ExplVR_LitEndNoMeta.dcm", "modality RTPLAN"),
        ("README.txt", "no CT volume"),
    ],
)
def test_pydicoms_other_files_are_refused(name, match):
    with pytest.raises(ValueError, match=rf"{name}: .*{match}"):
        read_volume(PYDICOM_FILES / name)


def test_pydicoms_folders():
    folder = PYDICOM_FILES / "dicomdirtests"
    errors = collecting()
    volume = read_volume(folder / "98892001", errors=errors)
    heights = [pydicom.dcmread(file).ImagePositionPatient[2] for file in volume.slice_files]
    assert heights == sorted(heights) and len(heights) == 5
    assert volume.hu.shape == (5, 16, 16) and volume.spacing[0] == pytest.approx(2.5)
    assert errors.messages == [] and "CT localiser" in errors.notes[0]
    with pytest.raises(ValueError, match="slices are missing"):
        read_volume(folder / "77654033" / "CT2")
    with pytest.raises(ValueError, match=r"found \d+ series"):
        read_volume(folder)
    assert not is_dicom(folder / "DICOMDIR")
    with pytest.raises(ValueError, match="no usable CT slice"):
        read_volume(folder / "TINY_ALPHA", errors=collecting())


@pytest.mark.skipif(not COVID_CT_MD.is_dir(), reason=f"no {COVID_CT_MD}")
@pytest.mark.parametrize(("scan", "slices"), [("P001", 50), ("cap001", 56), ("normal001", 52)])
def test_jpeg_lossless_series(scan, slices):
    volume = read_volume(COVID_CT_MD / scan)
    assert volume.hu.shape == (slices, 512, 512) and volume.hu.dtype == np.int16
    assert volume.spacing[0] == pytest.approx(6.0)
    assert volume.hu.min() >= -1024
    # SimpleITK's own series reader agrees on order, pixels and geometry.
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(COVID_CT_MD / scan)))
    image = reader.Execute()
    assert np.array_equal(volume.hu, sitk.GetArrayViewFromImage(image))
    assert np.allclose(volume.origin, image.GetOrigin())
    assert np.allclose(volume.spacing[::-1], image.GetSpacing())
    # The couch lies behind the patient: below the body in the picture there is something denser
    # than air, above it there is not.
    front, back = volume.hu[:, :40].mean(), volume.hu[:, -140:].mean()
    assert back > front
