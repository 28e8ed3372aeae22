"""Pixels that are not in a file: each short one is read twice, with other things in memory."""

import re
import zlib

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import edit_tags, image_of, write_series
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from ctmasknet.data.images import read_mask, read_slice
from ctmasknet.errors import collecting
from ctmasknet.volumes.label_maps import is_label_volume
from ctmasknet.volumes.volume_files import read_volume

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


def refused_twice(read, path):
    """Read a file that is not whole; each time it is refused by its name."""
    for filling in (0, 0x55):
        np.full(1 << 22, filling, np.uint8)  # what freed memory holds
        with pytest.raises(ValueError, match=path.name):
            read(path)


def shortened(path, size):
    whole = path.read_bytes()
    assert 0 < size < len(whole)
    path.write_bytes(whole[:size])


@pytest.mark.parametrize("missing", [1, 2, 100, 2000])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd", ".mhd", ".nhdr"])
def test_volumes(tmp_path, hu, suffix, packed, missing):
    path = tmp_path / f"a{suffix}"
    rng = np.random.default_rng(0)
    noisy = hu + rng.integers(0, 99, hu.shape).astype(np.int16)  # or it would be packed too well
    sitk.WriteImage(image_of(noisy), str(path), useCompression=packed)
    beside = [x for x in tmp_path.iterdir() if x != path]
    pixels = beside[0] if beside else path
    shortened(pixels, pixels.stat().st_size - missing)
    if packed and suffix in (".nrrd", ".nhdr") and missing < 10:  # gzip's own end, not pixels
        assert np.array_equal(read_volume(path).hu, noisy)
        return
    refused_twice(read_volume, path)
    assert not is_label_volume(path)


@pytest.mark.parametrize("syntax", ["plain", DeflatedExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("missing", [2, 100, 511])
def test_dicom(tmp_path, hu, missing, syntax):
    (path,) = write_series(tmp_path / "scan", hu[:1])
    dataset = pydicom.dcmread(path)
    if syntax == RLELossless:
        dataset.compress(RLELossless)
        missing = min(missing, 60)
    elif syntax == "plain":
        dataset.PixelData = dataset.PixelData[:-missing]
    else:
        dataset.PixelData = dataset.PixelData[:-missing]
        dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    if syntax == RLELossless:
        shortened(path, path.stat().st_size - missing)
    refused_twice(read_volume, path)


def test_a_dicom_file_without_its_end(tmp_path, hu):
    paths = write_series(tmp_path / "scan", hu)
    shortened(paths[3], paths[3].stat().st_size - 300)
    errors = collecting()
    assert len(read_volume(tmp_path / "scan", errors=errors)) == len(hu) - 1
    assert "found 212 bytes of pixels, expected 512" in errors.first
    edit_tags(paths[3], PatientID="x")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("missing", [1, 5, 100])
def test_images(tmp_path, suffix, missing):
    path = tmp_path / f"a{suffix}"
    grey = np.random.default_rng(0).integers(0, 255, (32, 32), dtype=np.uint8)
    Image.fromarray(grey).save(path)
    whole = read_slice(path)
    size = path.stat().st_size - missing
    shortened(path, size)
    for read in (read_slice, read_mask):
        for filling in (0, 0x55):
            np.full(1 << 20, filling, np.uint8)
            try:
                found = read(path)
            except ValueError as error:
                assert str(path) in str(error)
                continue
            # What follows the pixels may be missing.
            assert np.array_equal(found, whole if read is read_slice else whole[..., 0])
            assert missing < 20


def test_a_compressed_volume_that_ends_early(tmp_path, hu):
    path = tmp_path / "a.mha"
    packed = zlib.compress(hu.tobytes()[:-512])
    header = "ObjectType = Image\nNDims = 3\nDimSize = 16 16 8\nElementType = MET_SHORT\n"
    header += f"CompressedData = True\nCompressedDataSize = {len(packed)}\n"
    path.write_bytes(f"{header}ElementDataFile = LOCAL\n".encode() + packed)
    refused_twice(read_volume, path)


@pytest.mark.parametrize("syntax", ["plain", DeflatedExplicitVRLittleEndian])
def test_pixels_of_dicom_that_are_stated_to_be_gigabytes(tmp_path, hu, syntax):
    (path,) = write_series(tmp_path, hu[:1])
    data = path.read_bytes()
    head, found, pixels = data.rpartition(b"\xe0\x7f\x10\0OW\0\0")
    assert found
    data = head + found + (2**31).to_bytes(4, "little") + pixels[4:]
    if syntax != "plain":
        start = 144 + int.from_bytes(data[140:144], "little")  # of what is deflated
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        meta = data[:start].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
        meta = meta.replace(
            b"UI\x14\x001.2.840.10008.1.2.1.99", b"UI\x16\x001.2.840.10008.1.2.1.99"
        )
        meta = meta[:140] + (start - 144 + 2).to_bytes(4, "little") + meta[144:]
        data = meta + packer.compress(data[start:]) + packer.flush()
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"000\.dcm: .*bytes of 2147483648 that are stated"):
        read_volume(path)


@pytest.mark.parametrize("stated", [b"2", b"0", b""])
@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
def test_packed_pixels_of_another_length_than_is_stated(tmp_path, hu, suffix, stated):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(image_of(hu), str(path), useCompression=True)
    line = b"CompressedDataSize = " + stated + b"\n" if stated else b""
    path.write_bytes(re.sub(rb"CompressedDataSize = \d+\n", line, path.read_bytes()))
    if suffix == ".mhd" and stated != b"2":  # the whole file
        assert np.array_equal(read_volume(path).hu, hu)
        return
    refused_twice(read_volume, path)


@pytest.mark.parametrize("kind", [b"UN\0\0", b"OB\0\0"])
def test_what_follows_the_pixels_of_dicom(tmp_path, hu, kind):
    """GDCM takes the memory that an element there states; a little too much is left to it."""
    (path,) = write_series(tmp_path, hu[:1])
    whole = path.read_bytes()
    element = b"\xfc\xff\xfc\xff" + kind
    path.write_bytes(whole + element + (8).to_bytes(4, "little") + bytes(8))
    assert np.array_equal(read_volume(path).hu, hu[:1])
    path.write_bytes(whole + element + (2**31).to_bytes(4, "little") + bytes(8))
    with pytest.raises(ValueError, match=r"000\.dcm: .*element FFFCFFFC of 2147483648 bytes"):
        read_volume(path)
