"""Pseudonyms and the file of names."""

import csv
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from ctmasknet.pseudonyms import Names, names_file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "names.csv"


def test_a_name_stays_and_tells_nothing(path, tmp_path):
    names = Names(path)
    patient = names.of("patient", "p1")
    assert len(patient) == len("patient-") + 10 and patient == names.of("patient", "p1")
    assert names.of("scan", "p1")[-10:] != patient[-10:]
    names.save()
    assert Names(path).of("patient", "p1") == patient
    assert Names(tmp_path / "other.csv").of("patient", "p1") != patient  # of another key


def test_the_key_alone_gives_the_same_names(path):
    names = Names(path)
    patient = names.of("patient", "p1")  # never saved, as in a run that was killed
    assert Names(path).of("patient", "p1") == patient


def test_the_file_is_for_people_and_for_its_owner(path):
    names = Names(path)
    scan = names.of("scan", "/data/Doe, Roberta")
    names.of("patient", "=1+1")
    names.save()
    names.save()  # nothing new
    rows = list(csv.reader(path.open(newline="")))
    assert rows[0] == ["name", "kind", "identifier"] and rows[1][1] == "key"
    assert rows[2] == [scan, "scan", "/data/Doe, Roberta"]
    assert rows[3][2] == "'=1+1" and len(rows) == 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = Names(path)
    assert read.reveal(f"{rows[3][0]}: {scan}, scan-0123456789") == (
        "=1+1: /data/Doe, Roberta, scan-0123456789"
    )


@pytest.mark.parametrize("name", ["a\nb", "'=1", os.fsdecode(b"\xff\xfe"), "ü'\"", ""])
def test_any_file_name_comes_back(path, name):
    names = Names(path)
    called = names.of("slice", name)
    names.save()
    read = Names(path)
    assert read.reveal(called) == name and read.of("slice", name) == called
    read.save()
    assert Names(path).reveal(called) == name


def test_names_that_begin_alike_become_longer(path, monkeypatch):
    names = Names(path)
    digests = {"patient\na": "0" * 64, "patient\nb": "0" * 11 + "1" * 53}
    monkeypatch.setattr(Names, "digest", lambda self, text: digests[text])
    assert names.of("patient", "a") == "patient-" + "0" * 10
    assert names.of("patient", "b") == "patient-" + "0" * 11
    assert names.of("patient", "a") == "patient-" + "0" * 10


@pytest.mark.parametrize(
    "content",
    [b"", b"file,label\n", b"name,kind,identifier\n", b"name,kind,identifier\nxyz,key,\n", b"\0\1"],
)
def test_other_files_are_left_alone(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"names.csv: no file of names"):
        Names(path)
    assert path.read_bytes() == content


def test_a_line_that_is_cut_is_no_other_name(path):
    names = Names(path)
    names.of("scan", "abc")
    names.save()
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match="damaged"):
        Names(path)


def test_a_full_disk_leaves_the_file_whole(path, monkeypatch):
    names = Names(path)
    before = path.read_bytes()
    names.of("scan", "abc")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        names.save()
    assert path.read_bytes() == before
    monkeypatch.undo()
    names.save()
    assert len(Names(path).reveal(names.of("scan", "abc"))) == 3


def add(path, number):
    names = Names(path)
    for index in range(50):
        names.of("slice", f"{number} {index}")
        names.save()


def test_runs_at_the_same_time_lose_no_name(path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=add, args=(path, number)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    read = Names(path)
    assert {
        read.reveal(read.of("slice", f"{number} {index}"))
        for number in range(3)
        for index in range(50)
    } == {f"{number} {index}" for number in range(3) for index in range(50)}
    assert len(path.read_text().splitlines()) == 2 + 150


def test_a_folder_that_cannot_be_written_is_named(path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PermissionError, match=r"names.csv: cannot be written .No space.*--names"):
        Names(path)
    assert list(path.parent.iterdir()) == []


def test_a_disk_without_links(path, monkeypatch):
    def no_links(*paths):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    called = Names(path).of("scan", "a")
    assert Names(path).of("scan", "a") == called
    assert list(path.parent.iterdir()) == [path]


def test_the_file_lies_beside_the_results(tmp_path, monkeypatch):
    assert names_file(tmp_path / "out") == tmp_path / "ctmasknet-names.csv"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert names_file(Path(".")) == tmp_path / "ctmasknet-names.csv"
    assert names_file(Path("out"), Path("n.csv")) == Path("n.csv")
    for inside in ("out", "out/n.csv", "out/../out/n.csv"):
        with pytest.raises(ValueError, match="would be passed on"):
            names_file(Path("out"), Path(inside))


def test_a_missing_file_is_not_made_where_names_are_only_read(path):
    with pytest.raises(FileNotFoundError, match="no such file of names"):
        Names.existing(path)
    assert not path.exists()
