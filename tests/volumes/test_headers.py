"""Headers of MetaImage and NRRD that ITK is not to see, and pixels that they may not mean."""

import os
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import image_of

from ctmasknet.volumes.volume_files import read_volume

_PIXELS = {".mhd": b"ElementDataFile = ", ".nhdr": b"data file: "}


@pytest.fixture
def write(tmp_path, hu):
    """Write a header with its pixels beside it, and let it name others."""

    def write(suffix, name):
        path = tmp_path / "in" / f"a{suffix}"
        path.parent.mkdir(exist_ok=True)
        sitk.WriteImage(image_of(hu), str(path))
        start = _PIXELS[suffix]
        lines = [x for x in path.read_bytes().splitlines() if x and not x.startswith(start)]
        path.write_bytes(b"\n".join([*lines, start + name.encode()]) + b"\n")
        return path

    return write


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_pixels_lie_beside_their_header(tmp_path, hu, write, suffix):
    raw = "a.raw"
    assert np.array_equal(read_volume(write(suffix, raw)).hu, hu)
    (tmp_path / "b.raw").write_bytes((tmp_path / "in" / raw).read_bytes())
    (tmp_path / "in" / "link.raw").symlink_to(tmp_path / "b.raw")
    os.mkfifo(tmp_path / "in" / "pipe")
    for name, said in (
        ("/dev/zero", "expected a file in its own folder"),
        ("/etc/passwd", "expected a file in its own folder"),
        (str(tmp_path / "b.raw"), "expected a file in its own folder"),
        ("../b.raw", "expected a file in its own folder"),
        ("..", "expected a file in its own folder"),
        ("link.raw", "are a link to"),
        ("pipe", "a pipe or a device"),
        ("gone.raw", "found no file gone.raw beside it"),
    ):
        with pytest.raises(ValueError, match=rf"(a\{suffix}: .*|pipe: .*){said}"):
            read_volume(write(suffix, name))


@pytest.mark.parametrize(
    ("suffix", "name"),
    [(".mhd", "LIST"), (".mhd", "s%02d.raw 0 7 1"), (".nhdr", "LIST"), (".nhdr", "s%d.raw 0 7 1")],
)
def test_pixels_in_several_files_are_to_be_converted(write, suffix, name):
    path = write(suffix, name)
    convert = rf"convert it with SimpleITK, by WriteImage\(ReadImage\('a\{suffix}'\), 'scan.nii.gz'"
    with pytest.raises(ValueError, match=rf"a\{suffix}: its pixels are in several .*{convert}"):
        read_volume(path)


def nrrd(path, hu, encoding, content):
    sitk.WriteImage(image_of(hu), str(path))
    head = path.read_bytes().partition(b"\n\n")[0]
    path.write_bytes(head.replace(b"encoding: raw", b"encoding: " + encoding) + b"\n\n" + content)
    return path


def text_of(hu):
    return " ".join(map(str, hu.ravel())).encode() + b"\n"


@pytest.mark.parametrize("encoding", [b"ascii", b"text", b"txt", b"hex"])
def test_the_advice_for_pixels_as_text_in_nrrd_helps(tmp_path, hu, encoding):
    content = hu.astype("<i2").tobytes().hex().encode() if encoding == b"hex" else text_of(hu)
    path = nrrd(tmp_path / "a.nrrd", hu, encoding, content)
    helps(path, hu, rf"a\.nrrd: its pixels are text \({encoding.decode()}\)")


def test_the_advice_for_pixels_as_text_in_metaimage_helps(tmp_path, hu):
    path = tmp_path / "a.mha"
    sitk.WriteImage(image_of(hu), str(path))
    head, local, _ = path.read_bytes().partition(b"LOCAL\n")
    head = head.replace(b"BinaryData = True", b"BinaryData = False")
    path.write_bytes(head + local + text_of(hu))
    helps(path, hu, r"a\.mha: its pixels are text")


def helps(path, hu, said):
    """What the error says makes a file that is read."""
    with pytest.raises(ValueError, match=f"{said}.*: convert it with SimpleITK, by Write") as error:
        read_volume(path)
    advice = str(error.value).rpartition("SimpleITK, by ")[2]
    code = f"from SimpleITK import *; {advice}"
    subprocess.run([sys.executable, "-c", code], cwd=path.parent, check=True)
    assert np.array_equal(read_volume(path.with_name("scan.nii.gz")).hu, hu)


def test_other_encodings_of_nrrd_are_named(tmp_path, hu):
    path = nrrd(tmp_path / "a.nrrd", hu, b"bzip2", b"")
    with pytest.raises(ValueError, match=r"a\.nrrd: its encoding is bzip2: save it as raw or gzip"):
        read_volume(path)
    path = nrrd(path, hu, b"rot13", b"")
    with pytest.raises(ValueError, match="found the encoding 'rot13', expected raw or gzip"):
        read_volume(path)


@pytest.mark.parametrize(
    ("suffix", "old", "new", "said"),
    [
        (".mha", b"NDims = 3", b"NDims = 65535", "found the NDims '65535'"),
        (".mha", b"NDims = 3", b"NDims = -1", "found the NDims '-1'"),
        (".mha", b"NDims = 3", b"NDims = 3\nNDims = 3", "found NDims twice"),
        (".mha", b"Offset = ", b"Offset = nan ", "found the Offset 'nan "),
        (".nrrd", b"kinds: ", b"kinds: " + 999 * b"domain ", "found a kinds of "),
        (".nrrd", b"type: short", b"type: short\n" + 9999 * b"9", "found the line '9999"),
        (".nrrd", b"type: short", b"type: block", "found the type 'block'"),
    ],
)
def test_headers_at_which_itk_would_end_the_process(tmp_path, hu, suffix, old, new, said):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(image_of(hu), str(path))
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    with pytest.raises(ValueError, match=rf"a\{suffix}: cannot be read as \{suffix} \({said}"):
        read_volume(path)
