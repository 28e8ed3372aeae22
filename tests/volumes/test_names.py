"""Files whose names say something else than their bytes, or say it in capitals."""

import gzip
import shutil
import zipfile

import numpy as np
import pytest
from dicom_files import save_volume
from PIL import Image

from ctmasknet.data.images import read_slice
from ctmasknet.errors import collecting
from ctmasknet.inference.inputs import find_inputs
from ctmasknet.volumes.volume_files import read_volume

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr"])
def test_suffixes_in_capitals(tmp_path, hu, suffix):
    save_volume(tmp_path / f"a{suffix}", hu)
    shutil.move(tmp_path / f"a{suffix}", path := tmp_path / f"a{suffix.upper()}")
    assert np.array_equal(read_volume(path).hu, hu)
    (item,), *_ = find_inputs([tmp_path])
    assert item.path == path and item.name == "a"


@pytest.mark.parametrize("name", ["a.Nii", "a.nii.GZ", "a.Mha"])
def test_suffixes_of_both_letters(tmp_path, hu, name):
    save_volume(tmp_path / name.lower(), hu)
    shutil.move(tmp_path / name.lower(), tmp_path / name)
    assert np.array_equal(read_volume(tmp_path / name).hu, hu)


def test_nifti_is_known_by_its_bytes_whatever_its_name(tmp_path, hu):
    plain = save_volume(tmp_path / "a.nii", hu).read_bytes()
    (tmp_path / "plain.nii.gz").write_bytes(plain)
    (tmp_path / "packed.nii").write_bytes(gzip.compress(plain))
    for name in ("plain.nii.gz", "packed.nii"):
        volume = read_volume(tmp_path / name)
        assert np.array_equal(volume.hu, hu) and volume.source == tmp_path / name


@pytest.mark.parametrize(
    "name", ["a.nii", "a.nii.gz", "a.mha", "a.mhd", "a.nrrd", "a.dcm", "a.zip", "a"]
)
def test_git_lfs_pointers_are_named(tmp_path, name, capfd):
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ValueError, match=rf"{name}: .*a Git LFS pointer, .*lfs pull"):
        read_volume(tmp_path / name)
    find_inputs([tmp_path])  # looks for label maps
    assert capfd.readouterr().err == ""  # ITK would print lines of its own


def test_bytes_behind_a_gzip_are_left_out(tmp_path, hu):
    path = save_volume(tmp_path / "a.nii.gz", hu)
    whole = path.read_bytes()
    path.write_bytes(whole + b"\n\n")
    assert np.array_equal(read_volume(path).hu, hu)
    for damaged in (whole[:-9] + b"\n\n", whole[:-8] + bytes(4) + whole[-4:] + b"\n\n", whole[:-2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.nii\.gz: cannot be decompressed"):
            read_volume(path)


def test_an_image_that_is_a_git_lfs_pointer(tmp_path):
    (tmp_path / "a.png").write_bytes(POINTER)
    with pytest.raises(ValueError, match=r"a\.png: .*a Git LFS pointer"):
        read_slice(tmp_path / "a.png")


def test_deflate64_is_named(tmp_path, hu):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(save_volume(tmp_path / "a.nii", hu), "a.nii")
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\3\4", 8), (b"PK\1\2", 10)):  # the method in both headers
        content[content.index(signature) + place] = 9
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip!a\.nii: .*compressed by Deflate64"):
        read_volume(path, errors=collecting())


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_an_opaque_alpha_channel_is_read_a_translucent_one_refused(tmp_path, mode):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    image = Image.fromarray(grey).convert(mode)
    image.save(tmp_path / "opaque.png")
    assert np.array_equal(read_slice(tmp_path / "opaque.png"), np.stack([grey] * 3, axis=-1))
    image.putpixel((3, 2), (*image.getpixel((3, 2))[:-1], 254))
    image.save(tmp_path / "translucent.png")
    with pytest.raises(ValueError, match=r"translucent\.png: found an image with a.* alpha"):
        read_slice(tmp_path / "translucent.png")
