"""Ways to store pixels in DICOM: each gives the same HU."""

import io

import jpeg_ls  # of highdicom
import numpy as np
import pydicom
import pytest
from dicom_files import lung_hu, write_series
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from ctmasknet.errors import collecting
from ctmasknet.volumes.volume_files import read_volume

END = b"\xfe\xff\xdd\xe0\0\0\0\0"  # the mark behind compressed pixels
# 8 x 8 values as HTJ2K, by OpenJPH: no package that we use can encode it.
HTJ2K = bytes.fromhex(
    "ff4fff5100294000000000080000000800000000000000000000000800000008000000000000000000010f01"
    "01ff50000800020000000aff52000c00020001000504044001ff5c0013208890909090909090909090909088"
    "8888ff64001700014f70656e4a50482056657220302e32362e332eff90000a0000000000990001ff93c00026"
    "01fd050774000000c00013400012c0001280a0fe020774009001077400ce00877400c000153000054c000152"
    "0c54db65fd00c1b400569880cb1500a29400f6d7719f2a00a29400c0002d580005ab0000adc42a0640d63224"
    "48be2a4890fc0040bd8840109800c67ed51255470c962a142850a0f0095d108052b7008c030100ccb6fe0010"
    "807d9600ffd9"
)


def store_unsigned(path, syntax, encode):
    """Store the HU of a file + 1024 as unsigned, encoded."""
    dataset = pydicom.dcmread(path)
    stored = dataset.pixel_array.astype(np.uint16)
    dataset.PixelRepresentation = 0
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([encode(stored)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)


def jpeg2000(stored):
    stream = io.BytesIO()
    Image.fromarray(stored).save(stream, "JPEG2000", no_jp2=True, irreversible=False)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [(JPEG2000Lossless, jpeg2000), (JPEGLSLossless, lambda stored: bytes(jpeg_ls.encode(stored)))],
)
def test_lossless_codings(tmp_path, syntax, encode):
    hu = lung_hu(3)
    for path in write_series(tmp_path, hu):
        store_unsigned(path, syntax, encode)
    assert np.array_equal(read_volume(tmp_path).hu, hu)


def test_htj2k(tmp_path):
    y, x = np.mgrid[:8, :8]
    hu = (37 * x + 11 * y - 850).astype(np.int16)
    hu[2:4, 2:5] = 40
    for path in write_series(tmp_path, np.stack([hu] * 3)):
        store_unsigned(path, HTJ2KLossless, lambda _: HTJ2K)
    assert np.array_equal(read_volume(tmp_path).hu, np.stack([hu] * 3))


@pytest.mark.parametrize("instead", [b"", bytes(3), bytes(8), bytes(200)])
def test_the_mark_behind_compressed_pixels_may_lack(tmp_path, instead):
    hu = lung_hu(3)
    for path in write_series(tmp_path, hu):
        store_unsigned(path, JPEG2000Lossless, jpeg2000)
        whole = path.read_bytes()
        assert whole.endswith(END)
        path.write_bytes(whole.removesuffix(END) + instead)
    assert np.array_equal(read_volume(tmp_path).hu, hu)
    for tail in (b"\1", bytes(8) + b"\1", b"\xfe\xff\x00\xe0\xff", END[:7]):
        path.write_bytes(whole.removesuffix(END) + tail)
        with pytest.raises(ValueError, match=r"002\.dcm.*end of the file amid its pixels"):
            read_volume(tmp_path)


def test_of_several_items_one_may_have_been_cut_off(tmp_path):
    (path,) = write_series(tmp_path, lung_hu(1))

    store_unsigned(path, JPEG2000Lossless, jpeg2000)
    dataset = pydicom.dcmread(path)
    code = jpeg2000(dataset.pixel_array.astype(np.uint16))
    dataset.PixelData = encapsulate([code], fragments_per_frame=2)
    dataset.save_as(path)
    whole = path.read_bytes()
    assert read_volume(path).hu.shape[0] == 1
    path.write_bytes(whole.removesuffix(END))
    with pytest.raises(ValueError, match="end of the file amid its pixels"):
        read_volume(path)


def test_run_lengths(tmp_path, hu):
    for path in write_series(tmp_path, hu):
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    assert np.array_equal(read_volume(tmp_path).hu, hu)


def test_deflated(tmp_path, hu):
    for path in write_series(tmp_path, hu):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        dataset.save_as(path)
    assert np.array_equal(read_volume(tmp_path).hu, hu)


def test_12_bits_with_a_sign(tmp_path, hu):
    for path in write_series(tmp_path, hu, RescaleIntercept=-24):
        dataset = pydicom.dcmread(path)
        dataset.BitsStored, dataset.HighBit = 12, 11
        stored = dataset.pixel_array.astype(np.int16)
        assert stored.min() < 0
        assert stored.min() < 0
        dataset.PixelData = (stored & 0x0FFF).astype("<u2").tobytes()  # the upper bits are no sign
        dataset.save_as(path)
    volume = read_volume(tmp_path, errors=(errors := collecting()))
    assert np.array_equal(volume.hu, hu) and errors.messages == []
