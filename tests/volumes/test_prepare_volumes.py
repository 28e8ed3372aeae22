"""CT volumes -> slices and an image list, whole or not at all."""

import errno
import functools
import os

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import lung_hu, write_series
from PIL import Image

from ctmasknet.data.image_lists import load_image_list
from ctmasknet.data.images import read_slice
from ctmasknet.errors import collecting
from ctmasknet.volumes import volume_files, volume_slices
from ctmasknet.volumes.volume_files import read_volume
from ctmasknet.volumes.volume_list import VolumeEntry, read_volume_list
from ctmasknet.volumes.volume_slices import write_slices


@pytest.fixture
def scans(tmp_path):
    """list.csv of a DICOM series "a", a NIfTI volume "b" and a stack of images "c"."""
    root = tmp_path / "scans"
    write_series(root / "a", lung_hu())
    sitk.WriteImage(sitk.GetImageFromArray(lung_hu(3)), str(root / "b.nii.gz"))
    (root / "c").mkdir()
    for z in range(2):
        Image.fromarray(np.full((16, 16), 40 + z, np.uint8)).save(root / "c" / f"{z}.png")
    lines = ["a,COVID-19,p1,p1_1", "b.nii.gz,0,p2,p2_1", "c,Common Pneumonia,p3,p3_1"]
    (root / "list.csv").write_text("\n".join(["file,label,patient,scan", *lines, ""]))
    return root


@pytest.fixture
def run(command):
    """Run the command with arguments; returns its exit code, stdout and stderr."""
    return functools.partial(command, "prepare", "volumes", "--keep-identifiers")


def test_slices_and_list(scans, tmp_path):
    output = tmp_path / "out"
    table = write_slices(read_volume_list(scans / "list.csv"), output)
    records = load_image_list(output / "slices.csv")
    assert [record["image_id"] for record in records[7:9]] == [
        "slices/p1_1/0007.png",
        "slices/p2_1/0000.png",
    ]
    assert [record["label"] for record in records] == [2] * 8 + [0] * 3 + [1] * 2
    assert {record["patient"] for record in records} == {"p1", "p2", "p3"}
    for number, expected in enumerate(read_volume(scans / "a").slices()):
        file = output / f"slices/p1_1/{number:04d}.png"
        assert np.array_equal(read_slice(file), expected)
        assert Image.open(file).mode == "L"
    assert read_slice(output / "slices/p3_1/0001.png").max() == 41  # as it was
    lines = table.splitlines()
    assert len(lines) == 4
    assert " ".join(lines[1].split()) == "8 16 x 16 2, 0.7, 0.7 1500,-600 p1_1"
    assert "unknown" in lines[3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "scans"]


def test_another_window(scans, tmp_path):
    entries = read_volume_list(scans / "list.csv")
    write_slices(entries, tmp_path / "out", window="mediastinum")
    volume = read_volume(scans / "a")
    written = read_slice(tmp_path / "out/slices/p1_1/0003.png")
    assert np.array_equal(written, volume.slice(3, "mediastinum"))


def test_output_is_never_half_written_nor_lost(scans, tmp_path):
    entries = read_volume_list(scans / "list.csv")
    output = tmp_path / "out"
    (scans / "a" / "003.dcm").write_bytes(b"")
    with pytest.raises(ValueError, match=r"list\.csv, line 2: .*003\.dcm: cannot be read"):
        write_slices(entries, output)
    assert [path.name for path in tmp_path.iterdir()] == ["scans"]
    write_slices(entries[1:], output)
    with pytest.raises(ValueError, match="out: found 2 entries.*--overwrite"):
        write_slices(entries[1:], output)
    with pytest.raises(ValueError, match="003"):
        write_slices(entries, output, overwrite=True)
    assert len(load_image_list(output / "slices.csv")) == 5  # still there
    write_slices(entries[2:], output, overwrite=True)
    assert len(load_image_list(output / "slices.csv")) == 2
    assert not (output / "slices" / "p2_1").exists()
    (output / "mine.txt").touch()
    with pytest.raises(ValueError, match=r"found mine\.txt, which this command did not write"):
        write_slices(entries[2:], output, overwrite=True)


def test_skipping(scans, tmp_path):
    (scans / "a" / "003.dcm").write_bytes(b"")
    (scans / "b.nii.gz").write_bytes(b"")
    with (scans / "list.csv").open("a") as stream:
        stream.write("gone,0,p4,p4_1\nc,0,,p5_1\nc,0,p6,../up\nc,0,p3,p3_1\n")
    with pytest.raises(
        ValueError, match=r"line 6: no value for 'patient'.*each volume a patient of"
    ):
        read_volume_list(scans / "list.csv")
    errors = collecting()
    entries = read_volume_list(scans / "list.csv", errors)
    write_slices(entries, tmp_path / "out", errors=errors)
    records = load_image_list(tmp_path / "out" / "slices.csv")
    assert [record["scan"] for record in records] == ["p1_1"] * 7 + ["p3_1"] * 2
    found = "\n".join(errors.messages)
    for text in (
        "list.csv, line 6: no value for 'patient'",
        "003.dcm: cannot be read as DICOM",
        "about 1 slice is missing",
        f"{scans / 'list.csv'}, line 3: {scans / 'b.nii.gz'}: cannot be",
        "line 5: " + str(scans / "gone"),
        "line 7: scan '../up': expected a name for a folder",
        "line 8: scan 'p3_1': a volume of this name came before",
    ):
        assert text in found
    assert len(errors.messages) == 7
    assert not (tmp_path / "up").exists()
    with pytest.raises(ValueError, match="nothing to write, all 1 volumes are unusable"):
        write_slices(entries[1:2], tmp_path / "none", errors=collecting())


def test_the_list_is_checked(tmp_path):
    path = tmp_path / "list.csv"
    with pytest.raises(FileNotFoundError, match=r"list\.csv: no such list"):
        read_volume_list(path)
    for content, match in (
        (b"file,label\na,0\n", r"line 1: found the columns 'file,label', expected"),
        (b"file,label,patient,scan\n", "found no usable volume"),
        (b"file,label,patient,scan\na,0\n", "line 2: no value for 'patient'"),
        (b"file,label,patient,scan\n\xff\xfe,0,a,a\n", "not a UTF-8 CSV"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=match):
            read_volume_list(path)


def test_volumes_without_a_list(scans, tmp_path):
    names = VolumeEntry(scans / "a", "COVID-19"), VolumeEntry(scans / "b.nii.gz", "0")
    write_slices(names, tmp_path / "out")
    records = load_image_list(tmp_path / "out" / "slices.csv")
    assert {record["patient"] for record in records} == {"p7", "b"}
    assert {record["scan"] for record in records} == {read_volume(scans / "a").scan, "b"}


def test_the_command(scans, tmp_path, run):
    (scans / "a" / "007.dcm").write_bytes(b"")
    status, _, err = run(scans / "list.csv", "--output", tmp_path / "out")
    assert status == 2
    assert err.splitlines()[-1].startswith(f"error: {scans / 'list.csv'}, line 2: ")
    status, out, _ = run(scans / "list.csv", "--output", tmp_path / "out", "--skip-bad")
    assert status == 0
    assert "p2_1" in out and "skipped 1:\n" in out
    status, _, err = run(scans / "b.nii.gz", "--output", tmp_path / "other")
    assert status == 2 and "error: no --label" in err
    status, _, err = run(scans / "list.csv", "--label", "0", "--output", tmp_path / "other")
    assert status == 2 and "without --label" in err
    status, _, err = run(
        scans / "c", "--label", "0", "--window", "lng", "--output", tmp_path / "other"
    )
    assert status == 2 and "did you mean 'lung'" in err
    status, _, _ = run(scans / "c", scans / "b.nii.gz", "--label=0", "--output", tmp_path / "other")
    assert status == 0 and len(load_image_list(tmp_path / "other" / "slices.csv")) == 5


def test_output_into_the_working_directory(scans, tmp_path, run, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for options in ((), ("--overwrite",)):
        status, _, _ = run(scans / "c", "--label=0", "--output", ".", *options)
        assert status == 0
        assert sorted(os.listdir(".")) == ["slices", "slices.csv"]  # the same folder still
        assert len(load_image_list(here / "slices.csv")) == 2
    (scans / "c" / "0.png").write_bytes(b"")
    status, _, err = run(scans / "c", "--label=0", "--output", ".", "--overwrite")
    assert status == 2 and "0.png" in err
    assert sorted(os.listdir(".")) == ["slices", "slices.csv"]


def test_names_without_a_list_are_told_by_the_file(scans, tmp_path):
    entries = [VolumeEntry(scans / "b.nii.gz", "0"), VolumeEntry(scans / "b.nii.gz", "0")]
    with pytest.raises(ValueError) as caught:
        write_slices(entries, tmp_path / "out")
    assert str(caught.value).startswith(f"{scans / 'b.nii.gz'}: scan 'b': a volume of this name")
    with pytest.raises(ValueError, match=r"b\.nii\.gz: scan 'x+': .* at most 255 bytes"):
        write_slices([VolumeEntry(scans / "b.nii.gz", "0", scan="x" * 256)], tmp_path / "out")


def test_system_errors_of_reading_are_skipped_and_of_writing_are_not(scans, tmp_path, monkeypatch):
    entries = [VolumeEntry(scans / "a", "0"), VolumeEntry(scans / "b.nii.gz", "0")]
    read = volume_files.read_dicom

    def broken(files, *args, **options):
        raise OSError(errno.EIO, "Input/output error", str(files[2]))

    monkeypatch.setattr(volume_files, "read_dicom", broken)
    write_slices(entries, tmp_path / "out", errors=(errors := collecting()))
    assert len(errors.messages) == 1
    assert errors.messages[0].startswith(
        f"{scans / 'a' / '002.dcm'}: cannot be opened (input/output error)"
    )
    monkeypatch.setattr(volume_files, "read_dicom", read)
    monkeypatch.setattr(volume_slices.cv2, "imwrite", lambda *_: False)
    with pytest.raises(OSError, match="cannot be written; is the disk full"):
        write_slices(entries, tmp_path / "other", errors=collecting())
    assert not (tmp_path / "other").exists()
