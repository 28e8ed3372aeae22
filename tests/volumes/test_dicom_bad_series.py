"""DICOM series with something wrong: refused, or read on without it and noted."""

import re

import numpy as np
import pydicom
import pytest
from dicom_files import edit_tags, write_series, write_slice

from ctmasknet.errors import RAISE, collecting
from ctmasknet.volumes.volume_files import read_volume

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


def refused(folder, match, **options):
    """By default the folder is refused; if errors are collected it is read, and they say why."""
    with pytest.raises(ValueError, match=match) as caught:
        read_volume(folder, **options)
    assert str(caught.value).startswith(str(folder))
    errors = collecting()
    volume = read_volume(folder, errors=errors, **options)
    assert list(volume.skipped) == errors.messages
    assert str(caught.value).split(": ")[1] in "\n".join(errors.messages)
    return volume, errors


def test_two_series(tmp_path, hu):
    write_series(tmp_path / "a", hu, SeriesInstanceUID="1.2.1", SeriesDescription="thick")
    write_series(tmp_path / "b", hu[:3], SeriesInstanceUID="1.2.2", SeriesDescription="thin")
    match = r"2 series.*1\.2\.1 \(CT, 'thick', 8 files\); 1\.2\.2 \(CT, 'thin', 3 files\).*--series"
    volume, errors = refused(tmp_path, match)
    assert len(volume) == 8
    assert "took 1.2.1" in errors.messages[0]
    assert len(read_volume(tmp_path, series="1.2.2")) == 3
    with pytest.raises(ValueError, match=r"no series 1\.2\.3, found 1\.2\.1"):
        read_volume(tmp_path, series="1.2.3")


def test_localiser_of_its_own_series_and_of_the_same(folder, hu):
    scout = folder / "scout.dcm"
    write_slice(scout, hu[0], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    for _ in range(2):
        volume = read_volume(folder)
        assert np.array_equal(volume.hu, hu)
        (told,) = volume.skipped
        assert "1 file of the series" in told and "(CT localiser): no axial CT slices: left" in told
        edit_tags(scout, SeriesInstanceUID=volume.scan)
    with pytest.raises(ValueError, match=r"scout\.dcm: found a localiser.*remove the file"):
        read_volume(scout)


@pytest.mark.parametrize(
    "tags",
    [
        {"Modality": "PT"},
        {"Modality": "SEG", "RescaleSlope": None},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "ImagePositionPatient": None},
    ],
)
def test_what_lies_beside_a_scan_is_left_out_and_noted(folder, hu, tags, command):
    (folder / "beside").mkdir()
    write_slice(folder / "beside" / "x.dcm", hu[0], SeriesInstanceUID="1.2.9", **tags)
    errors = collecting()
    assert np.array_equal(read_volume(folder, errors=errors).hu, hu)
    assert errors.messages == [] and len(errors.notes) == 1 and "beside: 1 file" in errors.notes[0]
    output = folder.parent / "slices"
    status, printed, _ = command("prepare", "volumes", folder, "--label", "x", "--output", output)
    assert status == 0 and "note: " in printed and len([*output.glob("slices/*/*.png")]) == len(hu)


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
        ({"PhotometricInterpretation": "MONOCHROME1"}, "found PhotometricInterpretation MONOCH"),
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
    edit_tags(folder / "007.dcm", **tags)
    with pytest.raises(ValueError, match=rf"007\.dcm: {match}"):
        read_volume(folder)
    errors = collecting()
    assert np.array_equal(read_volume(folder, errors=errors).hu, hu[:7])
    assert len(errors.messages) == 1 and "007.dcm" in errors.messages[0]


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
    volume = read_volume(folder, errors=(errors := collecting()))
    assert np.array_equal(volume.hu, np.delete(hu, 3, axis=0))
    assert len(errors.messages) == 2 and "about 1 slice is missing" in errors.messages[1]


def test_missing_slices(folder, hu):
    for z in (2, 5, 6):
        (folder / f"00{z}.dcm").unlink()
    match = (
        r"about 3 slices are missing.*-98\.0 and -94\.0 mm \(001\.dcm, 003\.dcm\).*steps of 2 mm"
    )
    volume, errors = refused(folder, match)
    assert len(volume) == 5 and volume.spacing[0] == 2.0


@pytest.mark.parametrize("step", [0.625, 0.7375, 0.9875, 1.4562])
def test_positions_that_are_rounded_to_a_decimal_are_even(tmp_path, hu, step):
    for z, path in enumerate(write_series(tmp_path / "scan", hu)):
        edit_tags(path, ImagePositionPatient=[-50, -60, round(-99.96 + step * z, 1)])
    volume = read_volume(tmp_path / "scan")
    assert np.array_equal(volume.hu, hu) and volume.spacing[0] == pytest.approx(step, abs=0.02)


def test_uneven_steps(folder, hu):
    edit_tags(folder / "007.dcm", ImagePositionPatient=[-50, -60, -85.2])
    volume, errors = refused(folder, r"uneven steps of 2 to 2\.8 mm")
    assert np.array_equal(volume.hu, hu) and volume.spacing[0] == 2.0
    edit_tags(folder / "007.dcm", ImagePositionPatient=[-50, -60, -85.95])  # rounded, not uneven
    assert read_volume(folder).spacing[0] == pytest.approx(2.0, abs=0.01)


def test_gantry_tilt(tmp_path, hu):
    write_series(tmp_path / "told", hu, GantryDetectorTilt=-12)
    refused(tmp_path / "told", "gantry tilt of -12 degrees.*dcm2niix")
    write_series(tmp_path / "little", hu, GantryDetectorTilt=0.2)
    assert len(read_volume(tmp_path / "little")) == 8
    paths = write_series(tmp_path / "seen", hu)
    for z, path in enumerate(paths):
        edit_tags(path, ImagePositionPatient=[-50, -60 + 0.4 * z, -100 + 2 * z])
    volume, _ = refused(tmp_path / "seen", r"shifted by up to 2\.8 mm over 14\.0 mm \(007\.dcm\)")
    assert np.array_equal(volume.hu, hu)


@pytest.mark.parametrize("keep", [0, 50, 400, -1, -100])
def test_truncated_file(folder, hu, keep):
    path = folder / "007.dcm"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"007\.dcm: "):
        read_volume(folder)
    errors = collecting()
    assert np.array_equal(read_volume(folder, errors=errors).hu, hu[:7])
    assert errors.messages and all(
        "007.dcm" in line or "series" in line for line in errors.messages
    )


def test_a_damaged_file_in_the_middle_leaves_no_trace(folder, hu):
    path = folder / "003.dcm"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"003\.dcm: cannot be decoded .*412 .*512\).*copy it"):
        read_volume(folder)
    volume = read_volume(folder, errors=(errors := collecting()))
    assert np.array_equal(volume.hu, np.delete(hu, 3, axis=0))
    assert "003.dcm" not in "".join(volume.slice_files)
    assert len(errors.messages) == 2


def test_nothing_left(folder):
    for path in folder.iterdir():
        edit_tags(path, Modality="PT")
    with pytest.raises(ValueError, match="no usable CT slice.*modality PT"):
        read_volume(folder, errors=(errors := collecting()))
    assert len(errors.messages) == 8


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ({"RescaleIntercept": 0}, "from 24 to 1064"),
        ({"RescaleSlope": 1000}, "from 22976 to 1.06298e+06"),
    ],
)
def test_values_that_are_no_hu(folder, hu, tags, found):
    for path in folder.iterdir():
        edit_tags(path, **tags)
    for errors in (RAISE, collecting()):  # nothing to go on with
        with pytest.raises(ValueError, match=rf"{re.escape(found)}, expected HU .*are not those"):
            read_volume(folder, errors=errors)
