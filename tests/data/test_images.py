"""Slices and masks are read exactly or refused with a reason."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from ctmasknet.data.images import check_slice, read_mask, read_slice, require_files


@pytest.fixture
def grey():
    return (np.arange(6 * 4, dtype=np.uint8) * 10).reshape(6, 4)


def test_grey_becomes_rgb(tmp_path, grey):
    path = tmp_path / "a.png"
    Image.fromarray(grey).save(path)
    assert check_slice(path) == (6, 4)
    image = read_slice(path)
    assert image.dtype == np.uint8
    assert np.array_equal(image, np.stack([grey] * 3, axis=-1))


def test_rgb_keeps_channel_order(tmp_path):
    path = tmp_path / "a.png"
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[..., 0] = 200
    Image.fromarray(pixels).save(path)
    assert read_slice(path)[0, 0].tolist() == [200, 0, 0]


def test_jpeg_is_upright(tmp_path, grey):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(grey).save(path, exif=exif)
    assert check_slice(path) == (4, 6)
    assert read_slice(path).shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("mode", "suffix", "found"),
    [
        ("1", "png", "1-bit"),
        ("P", "png", "colour-mapped"),
        ("LA", "png", "alpha"),
        ("RGBA", "png", "alpha"),
        ("CMYK", "jpg", "CMYK"),
        ("I;16", "png", "16-bit image.*window"),
        ("I;16", "tif", "16-bit image.*window"),
        ("I", "tif", "32-bit integers.*window"),
        ("F", "tif", "floating-point.*window"),
    ],
)
@pytest.mark.parametrize("read", [check_slice, read_slice])
def test_other_modes_are_refused(tmp_path, mode, suffix, found, read):
    path = tmp_path / f"slice.{suffix}"
    Image.new(mode, (5, 5)).save(path)
    with pytest.raises(ValueError, match=rf"slice\.{suffix}: found .*{found}"):
        read(path)


def test_16_bit_rgb_is_not_taken_for_8_bit(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((4, 4, 3), 300, np.uint16))
    assert Image.open(path).mode == "RGB"  # why the mode alone is not enough
    with pytest.raises(ValueError, match="16-bit"):
        check_slice(path)


def test_stack_is_refused(tmp_path, grey):
    path = tmp_path / "a.tif"
    pages = [Image.fromarray(grey) for _ in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match="stack of 3"):
        check_slice(path)


@pytest.mark.parametrize("read", [check_slice, read_slice, read_mask])
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "empty, 0 bytes"),
        (b"\n<!DOCTYPE html><html>not found</html>", "an HTML page of 38 bytes"),
        (b"<HTML>", "an HTML page of 6 bytes"),
        (b"some text", "cannot identify image file"),
    ],
)
def test_not_an_image(tmp_path, read, content, found):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"a\.png: cannot be read as an image \({found}"
    ) as caught:
        read(path)
    assert str(caught.value).count(str(path)) == 1
    with pytest.raises(FileNotFoundError, match=r"b\.png: no such file"):
        read(tmp_path / "b.png")
    with pytest.raises(ValueError, match="cannot be read"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    check_slice(path)  # the header alone is intact
    with pytest.raises(ValueError, match=rf"a\.{suffix}: cannot be read"):
        read_slice(path)


def test_mask_values_survive(tmp_path):
    values = np.array([[0, 1, 2], [3, 255, 0]], np.uint8)
    Image.fromarray(values).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([values] * 3, axis=-1)).save(tmp_path / "rgb.png")
    for name in ("grey.png", "rgb.png"):
        mask = read_mask(tmp_path / name)
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, values)


def write_2_bit_png(path):
    """4 x 1 pixels of value 1, 2 bits each."""
    header = struct.pack(">IIBBBBB", 4, 1, 2, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0\x55")), (b"IEND", b"")]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in chunks:
            check = zlib.crc32(kind + data)
            file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check))


def test_masks_that_would_be_misread(tmp_path):
    colour = np.zeros((4, 4, 3), np.uint8)
    colour[1, 1] = (0, 1, 0)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    Image.fromarray(colour[..., 0]).save(tmp_path / "lossy.jpg")
    Image.new("P", (4, 4)).save(tmp_path / "palette.png")
    Image.new("I;16", (4, 4)).save(tmp_path / "deep.png")
    write_2_bit_png(tmp_path / "two.png")
    assert np.array(Image.open(tmp_path / "two.png")).max() == 85  # Pillow scales class 1 so
    for name, found in {
        "colour.png": "coloured",
        "lossy.jpg": "JPEG",
        "palette.png": "colour-mapped",
        "deep.png": "16-bit",
        "two.png": "2-bit",
    }.items():
        with pytest.raises(ValueError, match=rf"{name}: found .*{found}.*class number"):
            read_mask(tmp_path / name)


def test_require_files_names_the_first_and_the_number(tmp_path):
    (tmp_path / "there").touch()
    paths = [str(tmp_path / name) for name in ("there", "gone", "lost")]
    require_files(paths[:1], "list.csv")
    with pytest.raises(FileNotFoundError, match=r"gone: no such file; 2 of the files.*list\.csv"):
        require_files(paths, "list.csv")
