"""Zips of a volume, whole and damaged."""

import errno
import gzip
import zipfile

import numpy as np
import pytest
from dicom_files import save_volume, write_series

from ctmasknet.errors import collecting
from ctmasknet.volumes.volume_files import read_volume


def zip_folder(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def test_zip_of_a_series(tmp_path, hu):
    write_series(tmp_path / "scan" / "deep", hu)
    path = zip_folder(tmp_path / "scan", tmp_path / "scan.zip")
    volume = read_volume(path)
    assert np.array_equal(volume.hu, hu) and volume.source == path
    assert volume.slice_files[0] == f"{path}!deep/000.dcm"
    (tmp_path / "scan" / "deep" / "003.dcm").write_bytes(b"")
    zip_folder(tmp_path / "scan", path)
    with pytest.raises(ValueError, match=r"scan\.zip!deep/003\.dcm: cannot be read as DICOM"):
        read_volume(path)
    errors = collecting()
    volume = read_volume(path, errors=errors)
    assert list(volume.skipped) == errors.messages and len(volume) == 7
    assert errors.messages[0].startswith(f"{path}!deep/003.dcm") and errors.messages[1].startswith(
        f"{path}: "
    )


def test_zip_of_one_file_and_bad_zips(tmp_path, hu):
    (tmp_path / "in").mkdir()
    save_volume(tmp_path / "in" / "a.nii.gz", hu)
    path = zip_folder(tmp_path / "in", tmp_path / "a.zip")
    assert np.array_equal(read_volume(path).hu, hu)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.zip: cannot be unpacked \(empty, 0 bytes\)"):
        read_volume(path)
    zip_folder(tmp_path / "in", path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"a\.zip: cannot be unpacked"):
        read_volume(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.txt", "hello")
    with pytest.raises(ValueError, match=r"a\.zip: found no CT volume among 1 files"):
        read_volume(path)
    zipfile.ZipFile(path, "w").close()
    with pytest.raises(ValueError, match=r"a\.zip: found no CT volume among 0 files"):
        read_volume(path)


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.parametrize("method", METHODS)
def test_a_damaged_member(tmp_path, hu, method):
    path = tmp_path / "scan.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in write_series(tmp_path / "scan", hu):
            archive.write(file, file.name)
        start = archive.getinfo("007.dcm").header_offset
    content = bytearray(path.read_bytes())
    content[start + 60 : start + 260] = b"\xff" * 200
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"scan\.zip!007\.dcm: cannot be unpacked .*copy it again"):
        read_volume(path)
    volume = read_volume(path, errors=(errors := collecting()))
    assert np.array_equal(volume.hu, hu[:7])
    assert len(errors.messages) == 1 and errors.messages[0].startswith(f"{path}!007.dcm: ")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a", "a/b.dcm"], r"!a/b\.dcm: cannot be unpacked \(not a directory\)"),
        (["a/b.dcm", "a"], r"!a: cannot be unpacked \(is a directory\)"),
        (["x.dcm", "x" * 300 + ".dcm"], r"!x+\.dcm: cannot be unpacked \(file name too long\)"),
        (["x" * 300 + ".dcm"], r"!x+\.dcm: cannot be unpacked \(file name too long\)"),
    ],
)
def test_names_that_cannot_be_files(tmp_path, hu, names, found):
    file = write_series(tmp_path / "scan", hu)[0]
    path = tmp_path / "scan.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.write(file, name)
    with pytest.raises(ValueError, match=rf"scan\.zip{found}.*another name"):
        read_volume(path)
    if len(names) == 1:
        with pytest.raises(ValueError, match=rf"scan\.zip{found}"):  # nothing to go on with
            read_volume(path, errors=collecting())
    else:
        assert (
            len(read_volume(path, errors=(errors := collecting()))) == 1
            and len(errors.messages) == 1
        )


def test_messages_name_the_zip_and_no_temporary_file(tmp_path, hu):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, content in (
        ("empty.nii.gz", b""),
        ("text.nii.gz", gzip.compress(b"hello")),
        ("text.nii", b"hello"),
        (
            "a.mhd",
            b"NDims = 3\nDimSize = 4 4 4\nElementType = MET_SHORT\nElementDataFile = a.raw\n",
        ),
        ("a.png", b""),
    ):
        (folder / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"scan\.zip!{name}: ") as caught:
            read_volume(zip_folder(folder, tmp_path / "scan.zip"))
        assert "ctmasknet-" not in str(caught.value)
        (folder / name).unlink()


def test_a_full_disk_is_not_the_fault_of_a_zip(tmp_path, hu, monkeypatch):
    write_series(tmp_path / "scan", hu)
    path = zip_folder(tmp_path / "scan", tmp_path / "scan.zip")

    extract = zipfile.ZipFile.extract

    def fill(self, member, folder):
        if member.filename == "003.dcm":
            raise OSError(errno.ENOSPC, "No space left on device")
        return extract(self, member, folder)

    monkeypatch.setattr(zipfile.ZipFile, "extract", fill)
    with pytest.raises(OSError, match=r"scan\.zip!003\.dcm: no space left in .* to unpack it"):
        read_volume(path, errors=collecting())


def zip_of(path, folder, hu, name="scan"):
    """A zip of a DICOM series in a folder of this name."""
    files = write_series(folder, hu)
    with zipfile.ZipFile(path, "w") as archive:
        for k, file in enumerate(files):
            archive.write(file, f"{name}/{k}.dcm")
    return path


def test_what_macos_adds_to_a_zip_is_left_out(tmp_path, hu):
    path = zip_of(tmp_path / "a.zip", tmp_path / "a", hu)
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("__MACOSX/scan/._0.dcm", "scan/._1.dcm", "scan/.DS_Store"):
            archive.writestr(name, b"\0\5\x16\7" + bytes(160))
    volume = read_volume(path)
    assert np.array_equal(volume.hu, hu) and volume.skipped == ()


@pytest.mark.parametrize("name", ["sc\\an", "scän", "胸部", "грудь"])
def test_names_as_windows_writes_them(tmp_path, hu, name):
    """Backslashes between folders, and names in the code page of the computer."""
    name = name.encode({"胸部": "cp932", "грудь": "cp866"}.get(name, "cp437"))
    path = zip_of(tmp_path / "a.zip", tmp_path / "a", hu, "#" * len(name))
    path.write_bytes(path.read_bytes().replace(b"#" * len(name), name))
    volume = read_volume(path)
    assert np.array_equal(volume.hu, hu) and volume.skipped == ()


def test_a_mask_in_a_zip_is_left_out_and_noted(tmp_path, hu):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, values in (("ct", hu), ("mask", (hu > 0).astype(np.uint8))):
            archive.write(save_volume(tmp_path / f"{name}.nii", values), f"p1/{name}.nii")
    volume = read_volume(tmp_path / "a.zip", errors=(errors := collecting()))
    assert np.array_equal(volume.hu, hu) and errors.messages == []
    (note,) = errors.notes
    assert note == f"{tmp_path}/a.zip!p1/mask.nii: a label map (mask), no CT: left out"


def test_a_zip_within_a_zip_or_a_folder_is_named(tmp_path, hu):
    write_series(tmp_path / "scan", hu)
    (tmp_path / "zips").mkdir()
    zip_folder(tmp_path / "scan", tmp_path / "zips" / "inner.zip")
    outer = zip_folder(tmp_path / "zips", tmp_path / "outer.zip")
    for path in (outer, tmp_path / "zips"):
        with pytest.raises(ValueError, match=rf"{path.name}: found inner\.zip in it.*unpack what"):
            read_volume(path)
