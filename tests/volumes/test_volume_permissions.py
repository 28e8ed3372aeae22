"""Files and folders that the system does not open are named, and can be skipped."""

import builtins
import errno
import io
import os

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import image_of, save_volume, write_series
from PIL import Image

from ctmasknet.data.images import check_slice, read_slice
from ctmasknet.errors import collecting
from ctmasknet.volumes.volume_files import read_volume

DENIED = r"cannot be opened \(permission denied\): allow reading it"


@pytest.fixture
def deny(monkeypatch):
    """Let the system refuse to open a file, or to list or look into a folder, also to root."""

    def deny_path(denied, modules=(builtins, io), name="open"):
        for module in modules:
            monkeypatch.setattr(module, name, refusing(getattr(module, name), str(denied)))

    def refusing(call, denied):
        def refuse(path, *args, **kwargs):
            if isinstance(path, str | os.PathLike) and os.fspath(path) == denied:
                raise PermissionError(errno.EACCES, "Permission denied", denied)
            return call(path, *args, **kwargs)

        return refuse

    return deny_path


@pytest.mark.parametrize("suffix", [".dcm", ""])
def test_one_file_of_a_series(tmp_path, hu, deny, suffix):
    path = write_series(tmp_path, hu, names=[f"{z}{suffix}" for z in range(8)])[7]
    deny(path)
    with pytest.raises(ValueError, match=f"/7{suffix}: {DENIED}"):
        read_volume(tmp_path)
    assert np.array_equal(read_volume(tmp_path, errors=(errors := collecting())).hu, hu[:7])
    assert len(errors.messages) == 1 and errors.messages[0].startswith(f"{path}: ")
    with pytest.raises(ValueError, match=f"/7{suffix}: {DENIED}"):
        read_volume(path)


def test_all_files_of_a_series(tmp_path, hu, deny):
    for path in write_series(tmp_path, hu, names=[f"{z}" for z in range(8)]):
        deny(path)
    with pytest.raises(ValueError, match=f"/0: {DENIED}"):
        read_volume(tmp_path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd", ".zip"])
def test_volume_files(tmp_path, hu, deny, suffix):
    path = tmp_path / f"v{suffix}"
    if suffix == ".zip":
        path.write_bytes(b"PK")
    else:
        save_volume(path, hu)
    deny(path)
    with pytest.raises(ValueError, match=rf"/v\{suffix}: {DENIED}"):
        read_volume(path, errors=collecting())


def test_the_pixels_of_a_header(tmp_path, hu, deny):
    sitk.WriteImage(image_of(hu), str(tmp_path / "v.mhd"))
    deny(tmp_path / "v.raw")
    with pytest.raises(ValueError, match=rf"/v\.raw: {DENIED}"):
        read_volume(tmp_path / "v.mhd")


@pytest.mark.parametrize(("name", "call"), [("", "scandir"), ("/.", "stat")])
def test_folders_that_are_not_listed_or_not_opened(folder, hu, deny, name, call):
    inner = folder / "inner"
    inner.mkdir()
    (folder / "007.dcm").rename(inner / "007.dcm")
    deny(f"{inner}{name}", [os], call)
    with pytest.raises(ValueError, match=f"/inner: {DENIED}"):
        read_volume(folder)
    assert np.array_equal(read_volume(folder, errors=(errors := collecting())).hu, hu[:7])
    assert len(errors.messages) == 1
    deny(f"{folder}{name}", [os], call)
    with pytest.raises(ValueError, match=f"/scan: {DENIED}"):
        read_volume(folder, errors=collecting())


def test_images(tmp_path, deny):
    for name in ("a.png", "b.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    deny(tmp_path / "b.png")
    for read in (check_slice, read_slice, read_volume):
        with pytest.raises(ValueError, match=rf"/b\.png: {DENIED}"):
            read(tmp_path / "b.png")
    assert len(read_volume(tmp_path, errors=(errors := collecting()))) == 1
    assert len(errors.messages) == 1 and "b.png" in errors.messages[0]
