"""A user's format: registered once, known wherever volumes are read."""

import numpy as np
import pytest
from dicom_files import lung_hu

from ctmasknet.data.image_lists import load_image_list
from ctmasknet.data.window import LUNG
from ctmasknet.errors import collecting
from ctmasknet.inference.inputs import find_inputs
from ctmasknet.volumes import VOLUME_FORMATS, VolumeFormat, read_volume, upright_volume
from ctmasknet.volumes.volume_list import VolumeEntry
from ctmasknet.volumes.volume_slices import write_slices


def read_npz(path, options):
    with np.load(path) as file:
        return upright_volume(file["hu"], file["spacing"], (0, 0, 0), np.eye(3), path)


@pytest.fixture
def npz(tmp_path, monkeypatch):
    """A registered format, and a file of it."""
    npz_format = VolumeFormat(lambda path: path.suffix == ".npz", read_npz)
    monkeypatch.setitem(VOLUME_FORMATS, ".npz", npz_format)
    path = tmp_path / "scans" / "case.npz"
    path.parent.mkdir()
    np.savez(path, hu=lung_hu(), spacing=(2.0, 0.7, 0.7))
    return path


def test_the_reader_knows_it(npz):
    for path in (npz, npz.parent):
        volume = read_volume(path)
        assert np.array_equal(volume.hu, lung_hu()) and volume.spacing == (2.0, 0.7, 0.7)
        assert volume.scan == "case"


def test_prediction_knows_it(npz):
    for path in (npz, npz.parent):
        (item,), problems, left_out = find_inputs([path])
        assert item.is_scan and item.name == "case" and not (problems or left_out)
        assert len(item.read(LUNG, None, collecting())) == 8


def test_preparing_slices_knows_it(npz, tmp_path):
    write_slices([VolumeEntry(npz, "0")], tmp_path / "out")
    assert len(load_image_list(tmp_path / "out" / "slices.csv")) == 8


def test_messages_name_it(npz):
    (npz.parent / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"or one of \.nii, \.nii\.gz, .*, \.npz$"):
        read_volume(npz.parent / "notes.txt")


def test_without_it_the_file_is_none(npz, monkeypatch):
    monkeypatch.delitem(VOLUME_FORMATS, ".npz")
    with pytest.raises(ValueError, match=r"case\.npz: no CT volume, expected .*\.nhdr$"):
        read_volume(npz)
