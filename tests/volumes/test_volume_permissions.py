"""Files and folders that the system does not open are told as such, and can be skipped."""

import ctypes
import os
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import image_of, lung_hu, save_volume, write_series
from PIL import Image

from ctmasknet.data.images import check_slice, read_slice
from ctmasknet.errors import collecting
from ctmasknet.volumes.volume_files import read_volume

DENIED = r"cannot be opened \(permission denied\): allow reading it"


@pytest.fixture(autouse=True)
def permissions_count():
    """Permissions bind root too: without the capabilities to read whatever there is."""
    if sys.platform == "win32":
        pytest.skip("other permissions")
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("root reads everything")
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: low bits, then high ones
    assert libc.capget(header, sets) == 0
    before = sets[0]
    sets[0] &= ~((1 << 1) | (1 << 2))  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, sets) == 0
    yield
    sets[0] = before
    assert libc.capset(header, sets) == 0


@pytest.fixture
def closed():
    """Take all permissions from a path; they return after the test."""
    paths = []

    def close(path, mode=0):
        paths.append(path)
        path.chmod(mode)
        return path

    yield close
    for path in reversed(paths):
        path.chmod(0o700)


@pytest.mark.parametrize("suffix", [".dcm", ""])
def test_one_file_of_a_series(tmp_path, closed, suffix):
    hu = lung_hu()
    path = closed(write_series(tmp_path, hu, names=[f"{z}{suffix}" for z in range(8)])[7])
    with pytest.raises(ValueError, match=f"/7{suffix}: {DENIED}"):
        read_volume(tmp_path)
    assert np.array_equal(read_volume(tmp_path, errors=(errors := collecting())).hu, hu[:7])
    assert len(errors.messages) == 1 and errors.messages[0].startswith(f"{path}: ")
    with pytest.raises(ValueError, match=f"/7{suffix}: {DENIED}"):
        read_volume(path)


def test_all_files_of_a_series(tmp_path, closed):
    for path in write_series(tmp_path, lung_hu(), names=[f"{z}" for z in range(8)]):
        closed(path)
    with pytest.raises(ValueError, match=f"/0: {DENIED}"):
        read_volume(tmp_path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd", ".zip"])
def test_volume_files(tmp_path, closed, suffix):
    path = tmp_path / f"v{suffix}"
    if suffix == ".zip":
        path.write_bytes(b"PK")
    else:
        save_volume(path, lung_hu())
    with pytest.raises(ValueError, match=rf"/v\{suffix}: {DENIED}"):
        read_volume(closed(path), errors=collecting())


def test_the_pixels_of_a_header(tmp_path, closed):
    sitk.WriteImage(image_of(lung_hu()), str(tmp_path / "v.mhd"))
    closed(tmp_path / "v.raw")
    with pytest.raises(ValueError, match=rf"/v\.raw: {DENIED}"):
        read_volume(tmp_path / "v.mhd")


@pytest.mark.parametrize("mode", [0o000, 0o400])  # not listed; listed, but not to be opened
def test_folders(tmp_path, closed, mode):
    hu = lung_hu()
    write_series(tmp_path / "scan", hu)
    inner = tmp_path / "scan" / "inner"
    inner.mkdir()
    (tmp_path / "scan" / "007.dcm").rename(inner / "007.dcm")
    closed(inner, mode)
    with pytest.raises(ValueError, match=f"/inner: {DENIED}"):
        read_volume(tmp_path / "scan")
    assert np.array_equal(
        read_volume(tmp_path / "scan", errors=(errors := collecting())).hu, hu[:7]
    )
    assert len(errors.messages) == 1
    closed(tmp_path / "scan", mode)
    with pytest.raises(ValueError, match=f"/scan: {DENIED}"):
        read_volume(tmp_path / "scan", errors=collecting())
    with pytest.raises(ValueError, match=rf"/000\.dcm: {DENIED}"):
        read_volume(tmp_path / "scan" / "000.dcm")


def test_images(tmp_path, closed):
    for name in ("a.png", "b.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    closed(tmp_path / "b.png")
    for read in (check_slice, read_slice, read_volume):
        with pytest.raises(ValueError, match=rf"/b\.png: {DENIED}"):
            read(tmp_path / "b.png")
    assert len(read_volume(tmp_path, errors=(errors := collecting()))) == 1
    assert len(errors.messages) == 1 and "b.png" in errors.messages[0]
