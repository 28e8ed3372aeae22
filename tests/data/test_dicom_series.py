"""DICOM series: order, orientation, HU, and every kind of bad folder."""

import os
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
import SimpleITK as sitk
from dicom_files import lung_hu, write_series, write_slice

from ctmasknet.data.dicom_headers import is_dicom
from ctmasknet.data.volume_files import read_volume

PYDICOM_FILES = Path(os.path.dirname(pydicom.data.__file__), "test_files")
COVID_CT_MD = (
    Path(
        os.environ.get("CTMASKNET_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data"
    )
    / "covid_ct_md"
)


@pytest.fixture
def hu():
    return lung_hu()


@pytest.fixture
def folder(tmp_path, hu):
    write_series(tmp_path / "scan", hu)
    return tmp_path / "scan"


def edit(path, **tags):
    """Set tags of a DICOM file; None deletes."""
    dataset = pydicom.dcmread(path)
    for tag, value in tags.items():
        if value is None:
            delattr(dataset, tag)
        else:
            setattr(dataset, tag, value)
    dataset.save_as(path)


def refused(folder, match, **options):
    """Strictly the folder is refused; with a list it is read, and the list says why."""
    with pytest.raises(ValueError, match=match) as caught:
        read_volume(folder, **options)
    assert str(caught.value).startswith(str(folder))
    skipped = []
    volume = read_volume(folder, skipped=skipped, **options)
    assert list(volume.skipped) == skipped
    assert str(caught.value).split(": ")[1] in "\n".join(skipped)
    return volume, skipped


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
        edit(path, InstanceNumber=(5 * number) % 8)
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


def test_files_that_are_no_dicom_are_ignored(folder, hu):
    (folder / "README.txt").write_text("hello")
    (folder / ".hidden.dcm").write_bytes(b"x")
    (folder / "DICOMDIR").write_bytes(b"x")
    (folder / "preview.jpg").write_bytes(b"x")
    (folder / "001.dcm").rename(folder / "001")  # no suffix: known by its magic bytes
    (folder / "deeper").mkdir()
    (folder / "002.dcm").rename(folder / "deeper" / "002.ima")
    assert np.array_equal(read_volume(folder).hu, hu)


def test_two_series(tmp_path, hu):
    write_series(tmp_path / "a", hu, SeriesInstanceUID="1.2.1", SeriesDescription="thick")
    write_series(tmp_path / "b", hu[:3], SeriesInstanceUID="1.2.2", SeriesDescription="thin")
    match = r"2 series.*1\.2\.1 \(CT, 'thick', 8 files\); 1\.2\.2 \(CT, 'thin', 3 files\).*--series"
    volume, skipped = refused(tmp_path, match)
    assert len(volume) == 8
    assert "took 1.2.1" in skipped[0]
    assert len(read_volume(tmp_path, series="1.2.2")) == 3
    with pytest.raises(ValueError, match=r"no series 1\.2\.3, found 1\.2\.1"):
        read_volume(tmp_path, series="1.2.3")


def test_localiser_of_its_own_series_and_of_the_same(folder, hu):
    scout = folder / "scout.dcm"
    write_slice(scout, hu[0], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    volume, skipped = refused(folder, r"2 series.*CT localiser")
    assert np.array_equal(volume.hu, hu)
    edit(scout, SeriesInstanceUID=volume.scan)
    with pytest.raises(ValueError, match=r"scout\.dcm: found a localiser.*remove the file"):
        read_volume(folder)
    volume = read_volume(folder, skipped=(skipped := []))
    assert np.array_equal(volume.hu, hu) and "scout.dcm: found a localiser" in skipped[0]


@pytest.mark.parametrize(
    ("tags", "match"),
    [
        ({"RescaleIntercept": None}, "no usable RescaleIntercept, .*not known in HU"),
        (
            {"RescaleIntercept": None, "RescaleSlope": None},
            "no usable RescaleSlope and RescaleIntercept",
        ),
        ({"RescaleSlope": 0}, "no usable RescaleSlope"),
        ({"PixelSpacing": [0.7, 0]}, "no usable PixelSpacing"),
        ({"Modality": "MR"}, "found modality MR, expected CT"),
        ({"NumberOfFrames": 2}, "found 2 frames in one file.*dcm2niix"),
        ({"SamplesPerPixel": 3}, "found 3 samples per pixel"),
        ({"ImagePositionPatient": None}, "no usable ImagePositionPatient"),
        ({"ImagePositionPatient": [1, 2]}, "no usable ImagePositionPatient"),
        ({"PixelSpacing": None}, "no usable PixelSpacing"),
        ({"ImageOrientationPatient": [0] * 6}, "no usable ImageOrientationPatient"),
        ({"Rows": None}, "found no pixels"),
        ({"PixelSpacing": [0.9, 0.9]}, r"found the pixel spacing \(mm\) \(0\.9, 0\.9\).*7 of"),
        (
            {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
            r"found the orientation .* in 7 of the series' 8 files",
        ),
        ({"ImagePositionPatient": [-50, -60, -100]}, r"found a second slice at -100\.00 mm"),
    ],
)
def test_a_bad_file_among_good_ones(folder, hu, tags, match):
    edit(folder / "007.dcm", **tags)
    with pytest.raises(ValueError, match=rf"007\.dcm: {match}"):
        read_volume(folder)
    skipped = []
    assert np.array_equal(read_volume(folder, skipped=skipped).hu, hu[:7])
    assert len(skipped) == 1 and "007.dcm" in skipped[0]


def test_mixed_sizes(folder, hu):
    path = folder / "003.dcm"
    place = pydicom.dcmread(path)
    write_slice(
        path,
        hu[3, :8],
        SeriesInstanceUID=place.SeriesInstanceUID,
        ImagePositionPatient=place.ImagePositionPatient,
    )
    with pytest.raises(
        ValueError, match=r"003\.dcm: found the size .*\(8, 16\), expected \(16, 16\)"
    ):
        read_volume(folder)
    volume = read_volume(folder, skipped=(skipped := []))
    assert np.array_equal(volume.hu, np.delete(hu, 3, axis=0))
    assert len(skipped) == 2 and "about 1 slices are missing" in skipped[1]


def test_missing_slices(folder, hu):
    for z in (2, 5, 6):
        (folder / f"00{z}.dcm").unlink()
    match = (
        r"about 3 slices are missing.*-98\.0 and -94\.0 mm \(001\.dcm, 003\.dcm\).*steps of 2 mm"
    )
    volume, skipped = refused(folder, match)
    assert len(volume) == 5 and volume.spacing[0] == 2.0


def test_every_third_slice_of_a_series_is_even(tmp_path, hu):
    paths = write_series(tmp_path, hu)
    for z, path in enumerate(paths):
        edit(path, InstanceNumber=z)
        if z % 3:
            path.unlink()
    assert read_volume(tmp_path).spacing[0] == 6.0


def test_uneven_steps(folder, hu):
    edit(folder / "007.dcm", ImagePositionPatient=[-50, -60, -85.2])
    volume, skipped = refused(folder, r"uneven steps of 2 to 2\.8 mm")
    assert np.array_equal(volume.hu, hu) and volume.spacing[0] == 2.0
    edit(folder / "007.dcm", ImagePositionPatient=[-50, -60, -85.95])  # rounded, not uneven
    assert read_volume(folder).spacing[0] == pytest.approx(2.0, abs=0.01)


def test_gantry_tilt(tmp_path, hu):
    write_series(tmp_path / "told", hu, GantryDetectorTilt=-12)
    refused(tmp_path / "told", "gantry tilt of -12 degrees.*dcm2niix")
    write_series(tmp_path / "little", hu, GantryDetectorTilt=0.2)
    assert len(read_volume(tmp_path / "little")) == 8
    paths = write_series(tmp_path / "seen", hu)
    for z, path in enumerate(paths):
        edit(path, ImagePositionPatient=[-50, -60 + 0.4 * z, -100 + 2 * z])
    volume, _ = refused(tmp_path / "seen", r"shifted by up to 2\.8 mm over 14\.0 mm \(007\.dcm\)")
    assert np.array_equal(volume.hu, hu)


@pytest.mark.parametrize("keep", [0, 50, 400, -1, -100])
def test_truncated_file(folder, hu, keep):
    path = folder / "007.dcm"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"007\.dcm: "):
        read_volume(folder)
    skipped = []
    assert np.array_equal(read_volume(folder, skipped=skipped).hu, hu[:7])
    assert skipped and all("007.dcm" in line or "series" in line for line in skipped)


def test_a_damaged_file_in_the_middle_leaves_no_trace(folder, hu):
    path = folder / "003.dcm"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"003\.dcm: cannot be decoded .* bytes\).*copy it again"):
        read_volume(folder)
    volume = read_volume(folder, skipped=(skipped := []))
    assert np.array_equal(volume.hu, np.delete(hu, 3, axis=0))
    assert "003.dcm" not in "".join(volume.slice_files)
    assert len(skipped) == 2


def test_nothing_left(folder):
    for path in folder.iterdir():
        edit(path, Modality="PT")
    with pytest.raises(ValueError, match="no usable CT slice.*modality PT"):
        read_volume(folder, skipped=(skipped := []))
    assert len(skipped) == 8


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
        ("ExplVR_LitEndNoMeta.dcm", "cannot be read as DICOM"),
        ("README.txt", "no CT volume"),
    ],
)
def test_pydicoms_other_files_are_refused(name, match):
    with pytest.raises(ValueError, match=rf"{name}: .*{match}"):
        read_volume(PYDICOM_FILES / name)


def test_pydicoms_folders():
    folder = PYDICOM_FILES / "dicomdirtests"
    skipped = []
    volume = read_volume(folder / "98892001", skipped=skipped)
    heights = [pydicom.dcmread(file).ImagePositionPatient[2] for file in volume.slice_files]
    assert heights == sorted(heights) and len(heights) == 5
    assert volume.hu.shape == (5, 16, 16) and volume.spacing[0] == pytest.approx(2.5)
    assert len(skipped) == 1 and "CT localiser" in skipped[0]
    with pytest.raises(ValueError, match="slices are missing"):
        read_volume(folder / "77654033" / "CT2")
    with pytest.raises(ValueError, match=r"found \d+ series"):
        read_volume(folder)
    assert not is_dicom(folder / "DICOMDIR")
    with pytest.raises(ValueError, match="no usable CT slice"):
        read_volume(folder / "TINY_ALPHA", skipped=[])


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
