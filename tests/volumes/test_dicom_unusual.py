"""DICOM as other programs write it: what it means is read, or it is left out as no CT slice."""

import numpy as np
import pydicom
import pytest
from dicom_files import as_enhanced, edit_tags, lung_hu, write_series
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from ctmasknet.errors import collecting
from ctmasknet.inference.inputs import find_inputs
from ctmasknet.volumes.volume_files import read_volume

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def without_preamble(path):
    return path.read_bytes()[132:]


def without_meta(path):
    content = path.read_bytes()
    return content[content.index(b"\x08\x00\x08\x00CS") :]


def implicit(path):
    stream = DicomBytesIO()
    stream.is_little_endian = stream.is_implicit_VR = True
    write_dataset(stream, Dataset({e.tag: e for e in pydicom.dcmread(path)}))
    return stream.getvalue()


@pytest.mark.parametrize("suffix", ["", ".dcm", ".IMA", ".img"])
@pytest.mark.parametrize("stripped", [without_preamble, without_meta, implicit])
def test_files_without_preamble(tmp_path, hu, stripped, suffix):
    for path in write_series(tmp_path, hu, names=[f"IM{z}{suffix}" for z in range(8)]):
        path.write_bytes(stripped(path))
    assert np.array_equal(read_volume(tmp_path).hu, hu)
    (item,), problems, _ = find_inputs([tmp_path])
    assert len(item.files) == 8 and problems == []


@pytest.mark.parametrize("samples", [1, 3])
def test_secondary_captures_of_modality_ct_are_left_out(tmp_path, samples):
    write_series(tmp_path / "scan", lung_hu(3))
    no_place = ("PixelSpacing", "ImagePositionPatient", "RescaleSlope", "RescaleIntercept")
    for path in write_series(
        tmp_path / "scan" / "summary",
        lung_hu(2),
        SOPClassUID=SECONDARY_CAPTURE,
        SamplesPerPixel=samples,
        SeriesDescription="Exam Summary",
    ):
        edit_tags(path, **dict.fromkeys(no_place))
    (tmp_path / "scan" / "DIRFILE").write_bytes(b"index of a vendor")
    (item,), problems, (line,) = find_inputs([tmp_path])
    assert len(item.files) == 3 and problems == []
    assert "2 files of the series 'Exam Summary' (CT (Secondary Capture Image Storage))" in line


def test_a_secondary_capture_with_everything_of_a_slice_is_one(tmp_path, hu):
    write_series(tmp_path, hu, SOPClassUID=SECONDARY_CAPTURE)
    assert np.array_equal(read_volume(tmp_path).hu, hu)


def with_commas(path, *numbers):
    content = path.read_bytes()
    for number in numbers:
        assert number in content
        content = content.replace(number, number.replace(b".", b","))
    path.write_bytes(content)


def test_decimal_commas(tmp_path, hu):
    tags = {"SliceThickness": 1.5, "GantryDetectorTilt": 0.25, "PixelSpacing": [0.75, 0.75]}
    for path in write_series(tmp_path, hu, **tags):
        with_commas(path, b"1.5", b"0.25", b"0.75")
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.hu, hu) and volume.spacing == (2.0, 0.75, 0.75)
    assert read_volume(tmp_path / "003.dcm").spacing[0] == 1.5


def test_a_decimal_comma_in_a_rescale_tag_is_refused(tmp_path, hu):
    for path in write_series(tmp_path, hu, RescaleSlope=0.5):
        with_commas(path, b"0.5")
    with pytest.raises(ValueError, match=r"no usable RescaleSlope \(found 0,5\)"):
        read_volume(tmp_path)


def test_enhanced_ct_of_one_frame_a_file(tmp_path, hu):
    write_series(tmp_path, hu)
    volume = read_volume(as_enhanced(tmp_path), errors=(errors := collecting()))
    assert np.array_equal(volume.hu, hu) and errors.messages == []
    assert volume.spacing == (2.0, 0.7, 0.7) and volume.origin == (-50.0, -60.0, -100.0)
