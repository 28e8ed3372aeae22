"""Input that states sizes beyond all CT is refused by its header, and one option allows it."""

import gzip
import io
import json
import os
import resource
import struct
import sys
import time
import zipfile
import zlib

import pydicom
import pytest
import SimpleITK as sitk
import torch
from dicom_files import edit_tags, image_of, lung_hu, write_series
from pydicom.uid import DeflatedExplicitVRLittleEndian

from ctmasknet import limits
from ctmasknet.checkpoint import read_checkpoint
from ctmasknet.command_line import new_parser
from ctmasknet.data.coco_lesions import read_coco_lesions
from ctmasknet.data.images import check_slice, read_slice
from ctmasknet.volumes.volume_files import read_volume

pytestmark = pytest.mark.slow  # whole networks, commands or data sets
MANY = 20_000  # pixels of a side


@pytest.fixture(autouse=True)
def usual_limits(monkeypatch):
    monkeypatch.delenv(limits.VARIABLE, raising=False)


def header_of_png():
    def chunk(kind, content):
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    size = struct.pack(">IIBBBBB", 13_000, 13_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def dicom(path, **tags):
    (written,) = write_series(path.parent / "scan", lung_hu(1))
    edit_tags(written, **tags)
    written.rename(path)


def nrrd(path):
    head = "NRRD0004\ntype: short\ndimension: 3\nsizes: 1300 1300 1300\nencoding: gzip\n"
    path.write_bytes(f"{head}endian: little\n\n".encode() + gzip.compress(bytes(1 << 20)))


def nifti(path):
    sitk.WriteImage(image_of(lung_hu()), str(path.with_suffix("")))
    content = bytearray(path.with_suffix("").read_bytes())
    content[42:48] = struct.pack("<3h", 2000, 2000, 2000)
    path.write_bytes(gzip.compress(bytes(content)))


def mha(path):
    header = "ObjectType = Image\nNDims = 3\nDimSize = 9000 9000 900\nElementType = MET_SHORT\n"
    path.write_text(f"{header}ElementDataFile = LOCAL\n")


def bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.dcm", bytes(50 << 20))


def deflated(path):
    dicom(path)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.add_new(0x7FE00010, "OW", bytes(300 << 20))
    dataset.save_as(path)


MADE = {
    "a.dcm": (lambda path: dicom(path, Rows=MANY, Columns=MANY), "400,000,000 pixels.*16,777,216"),
    "b.dcm": (lambda path: dicom(path, Rows=65535, Columns=65535), "4,294,836,225 pixels"),
    "c.dcm": (deflated, "bytes after unpacking|times the packed bytes"),
    "a.nrrd": (nrrd, "2,197,000,000 voxels.*2,147,483,648"),
    "a.nii.gz": (nifti, "8,000,000,000 voxels"),
    "a.mha": (mha, "72,900,000,000 voxels"),
    "a.zip": (bomb, "times the packed bytes.*expected at most 200"),
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_too_large_is_refused_at_once(tmp_path, name):
    make, said = MADE[name]
    path = tmp_path / name
    make(path)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.time()
    with pytest.raises(ValueError, match=rf"{name}.*({said}).*--limits"):
        read_volume(path)
    assert time.time() - started < 5
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300_000 * (1 if sys.platform == "linux" else 1024)  # kB


def test_a_large_image(tmp_path):
    (tmp_path / "a.png").write_bytes(header_of_png())
    for read in (check_slice, read_slice):
        with pytest.raises(ValueError, match=r"a\.png: found 169,000,000 pixels.*16,777,216"):
            read(tmp_path / "a.png")


def test_a_large_image_of_a_coco_file(tmp_path):
    image = {"id": 1, "file_name": "a.png", "height": MANY, "width": MANY}
    coco = {"images": [image], "categories": [{"id": 1, "name": "x"}], "annotations": []}
    (tmp_path / "a.json").write_text(json.dumps(coco))
    with pytest.raises(ValueError, match=r"a\.json, image 0: .*400,000,000 pixels"):
        read_coco_lesions(tmp_path / "a.json")


def test_a_large_real_scan_passes():
    limits.check_limit("", 1024 * 1024 * 2000, limits.SCAN)
    limits.check_unpacked("", 1024 * 1024 * 2000 // 2, 1024 * 1024 * 2000 * 2)
    limits.check_limit("", 4096 * 4096, limits.SLICE)


def test_the_option_raises_all_limits(tmp_path, monkeypatch):
    parser = new_parser("")
    assert vars(parser.parse_args([])) == vars(parser.parse_args(["--limits", "30"])) == {}
    assert os.environ[limits.VARIABLE] == "30"
    monkeypatch.setenv(limits.VARIABLE, "30")  # and is forgotten after the test
    dicom(tmp_path / "a.dcm", Rows=MANY, Columns=MANY)
    with pytest.raises(ValueError, match="512 bytes of pixels, expected 800000000"):
        read_volume(tmp_path / "a.dcm")
    with pytest.raises(SystemExit):
        parser.parse_args(["--limits", "many"])
    monkeypatch.setenv(limits.VARIABLE, "-1")
    with pytest.raises(ValueError, match="CTMASKNET_LIMITS is '-1', expected a number"):
        limits.check_limit("", 1, limits.SCAN)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_whose_tensors_are_not_all_there(tmp_path, legacy):
    """PyTorch returns what lies in memory behind a storage that is too short."""
    path = tmp_path / "a.pth"
    content = {"a": torch.ones(1000), "b": torch.ones(9)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    assert set(read_checkpoint(path).weights) == {"a", "b"}
    if legacy:
        path.write_bytes(path.read_bytes()[:-500])
    else:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content[:400] if name.endswith("data/0") else content)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"a\.pth: damaged: found \d+ bytes of a? ?tensor"):
            read_checkpoint(path)


def test_a_checkpoint_that_unpacks_to_gigabytes(tmp_path):
    content = io.BytesIO()
    torch.save({"a": torch.zeros(50_000_000)}, content)
    with (
        zipfile.ZipFile(content) as archive,
        zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for info in archive.infolist():
            packed.writestr(info.filename, archive.read(info))
    with pytest.raises(ValueError, match=r"a\.pth: found .* times the packed bytes"):
        read_checkpoint(tmp_path / "a.pth")
