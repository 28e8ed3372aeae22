"""Damaged files, read by every reader: a result, or an error of ours that names the file."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from reliability import trials
from reliability.readers import READERS
from reliability.seeds import hu
from reliability.trials import ERROR, RESULT, count, damaged, run, trial

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

CASES = Path(
    os.environ.get("CTMASKNET_CASES") or Path(__file__).resolve().parents[3] / "shared" / "cases"
)
# What the whole files of other readers are: small parts of large networks.
PARTS = ("checkpoint", "author's checkpoint", "torchvision checkpoint")
# Recorded inputs by their names: reader and file name; "": it is in the file.
RECORDED = {
    "checkpoint": ("checkpoint", "a.pth"),
    "refckpt": ("author's checkpoint", "a.pth"),
    "coco": ("COCO, evaluation", "truth.json"),
    "cocoreg": ("COCO, training and audit", "a.json"),
    "config": ("config", "a.yaml"),
    "covidx": ("lists", "list.txt"),
    "dicom": ("DICOM", "a.dcm"),
    "image": ("image", ""),
    "mha": ("MetaImage, .mha", ""),
    "nifti": ("NIfTI", ""),
    "nrrd": ("NRRD", ""),
}


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files(reader):
    _, failures = count(reader, run(reader, 40, seed=1))
    assert not failures


@pytest.mark.parametrize("reader", [name for name in READERS if name not in PARTS])
def test_whole_files_are_read(reader):
    outcomes = Counter(
        trial(reader, whole, whole.dump(whole.content)) for whole in READERS[reader].seeds()
    )
    assert outcomes.keys() <= {RESULT, ERROR}
    assert outcomes[RESULT] > outcomes[ERROR]  # palettes are refused


def test_numbers_give_the_same_files():
    files = [damaged("NRRD", index, seed=0)[1] for index in range(20)]
    assert files == [damaged("NRRD", index, seed=0)[1] for index in range(20)]
    assert len(set(files)) == 20


FAULTS = {
    "a crash": (lambda path: os.abort(), "ended with -6"),
    "a foreign error": (lambda path: [][0], "a foreign error: IndexError"),
    "an error without a name": (lambda path: int("a"), "an error without the file's name"),
    "another result": (lambda path: object(), "another result the second time"),
    "another file": (lambda path: path.with_name("b").touch(), "other files were written"),
    "memory": (lambda path: np.ones(1 << 25).sum(), "MiB of memory"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_failures_are_seen(monkeypatch, fault):
    read, expected = FAULTS[fault]
    first = READERS["lists"]
    monkeypatch.setattr(trials, "BYTES", 1 << 27)
    monkeypatch.setitem(
        READERS, "lists", first._replace(read=lambda p: p.stat().st_size and read(p))
    )
    counts, failures = count("lists", run("lists", 2, seed=0))
    assert [failure.index for failure in failures] == [0, 1]
    assert all(expected in failure.what for failure in failures)
    assert counts == {"failure": 2}


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no recorded inputs in {CASES}")
def test_recorded_inputs():
    failures = {}
    for path in sorted((CASES / "fuzz").iterdir()):
        reader, name, data = _recorded(path)
        seeds = READERS[reader].seeds()
        whole = next((x for x in seeds if x.name == name), seeds[0])
        beside = {"a.raw": hu().tobytes(), **whole.beside}
        outcome = trial(reader, whole._replace(name=name, beside=beside, reads=""), data)
        if outcome not in (RESULT, ERROR):
            failures[path.name] = outcome
    assert not failures


def _recorded(path):
    """Return reader, file name and content of a recorded input."""
    kind, data = path.name.partition("_")[0], path.read_bytes()
    reader, name = RECORDED[kind]
    if kind in ("covidx", "dicom", "mha", "nifti", "nrrd"):  # a number before
        data = data[1:]
    if not name:  # its length and the name are before
        name, data = data[1 : 1 + data[0]].decode(), data[1 + data[0] :]
    return reader, name, data
