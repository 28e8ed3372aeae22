"""Files are whole or not there, whatever stops their process."""

import os

import pytest

from ctmasknet.atomic_write import atomic_files, atomic_write, remove_partial

_GONE = 2**22 + 1  # above the largest number of a process


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_whole_or_stays(tmp_path, durable):
    path = tmp_path / "made" / "file.txt"
    with atomic_write(path, durable) as partial:
        partial.write_text("one")
    with pytest.raises(KeyboardInterrupt), atomic_write(path, durable) as partial:
        partial.write_text("tw")
        raise KeyboardInterrupt
    assert path.read_text() == "one"
    assert [x.name for x in path.parent.iterdir()] == ["file.txt"]


def test_files_of_a_folder_come_together(tmp_path):
    (tmp_path / "other.txt").write_text("stays")
    (tmp_path / "a.txt").write_text("old")
    with atomic_files(tmp_path, last="a.txt") as partial:
        for name in "ab":
            (partial / f"{name}.txt").write_text("new")
        assert (tmp_path / "a.txt").read_text() == "old"
    found = {x.name: x.read_text() for x in tmp_path.iterdir()}
    assert found == {"a.txt": "new", "b.txt": "new", "other.txt": "stays"}


def test_files_of_a_folder_stay_away_together(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OSError, match="full"), atomic_files(tmp_path) as partial:
        (partial / "a.txt").write_text("new")
        raise OSError("the disk is full")
    assert {x.name: x.read_text() for x in tmp_path.iterdir()} == {"a.txt": "old"}


def test_the_last_one_comes_last(tmp_path, monkeypatch):
    moved = []
    monkeypatch.setattr(os, "replace", lambda old, new: moved.append(new.name))
    with atomic_files(tmp_path, last="a.txt") as partial:
        for name in "acb":
            (partial / f"{name}.txt").touch()
    assert moved == ["b.txt", "c.txt", "a.txt"]


def test_what_dead_processes_left_is_removed_and_nothing_else(tmp_path):
    for name in (f".{_GONE}.half.pth", f".{os.getpid()}.mine.pth", ".hidden", "12.x", ".9lives"):
        (tmp_path / name).touch()
    (tmp_path / f".{_GONE}.partial").mkdir()
    (tmp_path / f".{_GONE}.partial" / "figure.png").touch()
    remove_partial(tmp_path)
    kept = {x.name for x in tmp_path.iterdir()}
    assert kept == {f".{os.getpid()}.mine.pth", ".hidden", "12.x", ".9lives"}
