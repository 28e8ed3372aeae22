"""Which files of a folder are taken as DICOM: none of a series vanishes silently."""

from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_series

from ctmasknet.errors import collecting
from ctmasknet.volumes.volume_files import read_volume


def test_files_that_are_no_dicom_are_ignored(folder, hu):
    (folder / "README.txt").write_text("hello")
    (folder / ".hidden.dcm").write_bytes(b"x")
    (folder / "DICOMDIR").write_bytes(b"x")
    (folder / "preview.jpg").write_bytes(b"x")
    (folder / "001.dcm").rename(folder / "001")  # no suffix: known by its magic bytes
    for name in ("README", "license", "VERSION", "LOCKFILE", "readme.1"):  # no suffix either
        (folder / name).write_text("hello")
    (folder / "deeper").mkdir()
    (folder / "002.dcm").rename(folder / "deeper" / "002.ima")
    assert np.array_equal(read_volume(folder).hu, hu)


@pytest.mark.parametrize(
    "names", [[f"{z:03d}" for z in range(8)], [f"IM.{z:04d}" for z in range(8)]]
)
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (lambda content: b"", r"\(empty, 0 bytes\)"),
        (lambda content: content[:100], "100 bytes"),
        (lambda content: b"<html>not found</html>", "an HTML page of 22 bytes"),
    ],
)
def test_a_damaged_file_without_suffix_does_not_vanish(tmp_path, hu, names, content, found):
    path = write_series(tmp_path, hu, names=names)[7]
    path.write_bytes(content(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{path.name}: cannot be read as DICOM .*{found}"):
        read_volume(tmp_path)
    assert np.array_equal(read_volume(tmp_path, errors=(errors := collecting())).hu, hu[:7])
    assert len(errors.messages) == 1 and errors.messages[0].startswith(f"{path}: ")


def test_other_suffixes_count_where_dicom_files_have_them(tmp_path, hu):
    path = write_series(tmp_path, hu, names=[f"{z}.IMG" for z in range(8)])[7]
    path.with_suffix("").write_bytes(b"notes")  # no DICOM file here is without suffix
    assert len(read_volume(tmp_path)) == 8
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"7\.IMG: cannot be read as DICOM \(empty"):
        read_volume(tmp_path)


def test_a_link_to_nowhere(folder, hu):
    (folder / "007.dcm").unlink()
    (folder / "007.dcm").symlink_to(folder / "gone")
    with pytest.raises(ValueError, match=r"007\.dcm: cannot be opened \(no such file"):
        read_volume(folder)
    volume = read_volume(folder, errors=(errors := collecting()))
    assert len(errors.messages) == 1 and Path(volume.slice_files[-1]).name == "006.dcm"
