"""Results name nobody unless they are told to: every file is searched, byte by byte."""

import base64
import csv
import gzip
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import write_series
from PIL import Image
from prediction_files import result_of, written

from ctmasknet.errors import collecting
from ctmasknet.pseudonyms import NAMES_FILE
from ctmasknet.volumes.volume_files import read_volume, write_volume

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

TAGS = {
    "PatientID": "PAT-48213",
    "PatientName": "Doe^Roberta",
    "AccessionNumber": "ACC99127",
    "StudyInstanceUID": "1.2.826.0.1.1001.77",
    "SeriesInstanceUID": "1.2.826.0.1.1001.88",
    "FrameOfReferenceUID": "1.2.826.0.1.1001.99",
    "SeriesDescription": "thorax Roberta",
    "StudyID": "STUDY551",
}
WORDS = ("Roberta", "roberta", "PAT-48213", "ACC99127", "1.2.826.0.1.1001", "STUDY551", "IM0")


@pytest.fixture
def home(tmp_path):
    """A folder like a home: a series with a damaged file, a volume, a zip and images."""
    folder = tmp_path / "home" / "roberta"
    hu = np.random.default_rng(1).integers(-1000, 200, (4, 16, 16)).astype(np.int16)
    names = [f"IM0{z}.dcm" for z in range(4)]
    series = folder / "Roberta Doe"
    paths = write_series(series, hu, axes=((-1, 0, 0), (0, 1, 0)), names=names, **TAGS)
    paths[0].write_bytes(paths[0].read_bytes()[:500])
    write_volume(read_volume(series, errors=collecting()), folder / "roberta.nii.gz")
    with zipfile.ZipFile(folder / "roberta.zip", "w") as archive:
        for path in paths:
            archive.write(path, f"Roberta/x/{path.name}")
    (folder / "slices of Roberta").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (80, 100), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "slices of Roberta" / "roberta1.png")
    (folder / "slices of Roberta" / "roberta2.png").write_bytes(b"no image")
    return folder


def contents(path):
    """The bytes of a file, and those that are packed in it."""
    raw = path.read_bytes()
    yield raw
    if path.suffix == ".gz":
        yield gzip.decompress(raw)
    for packed in re.findall(rb"base64,([A-Za-z0-9+/=]+)", raw):
        yield base64.b64decode(packed)


def telling(folder, words):
    """(file, word) of each word that a file's name or content has."""
    return [
        (path.relative_to(folder), word)
        for path in folder.rglob("*")
        for word in words
        if word in str(path.relative_to(folder))
        or path.is_file()
        and any(word.encode() in content for content in contents(path))
    ]


def test_no_file_names_anyone(predict_and_report, home, tmp_path):
    code, printed, errors = predict_and_report(home, hidden=True)
    assert code == 2 and "4 of 4 predicted" in printed
    out = tmp_path / "out"
    assert telling(out, [*WORDS, str(tmp_path)]) == []
    uids = [str(pydicom.dcmread(x).SOPInstanceUID) for x in sorted(home.glob("*/IM0*"))[1:]]
    assert len(uids) == 3 and telling(out, uids) == []
    # The terminal and the file of names, which is not in the folder, tell whose each result is.
    names = (tmp_path / NAMES_FILE).read_text()
    results = [result_of(x.parent) for x in out.glob("*/result.json")]
    for result in results:
        assert re.fullmatch("scan-[0-9a-f]{10}", result["name"]) and result["name"] in printed
        assert names.count(f"{result['name']},scan,{home}") == 1
    assert f"{home}/roberta.nii.gz is scan-" in printed
    assert sum("IM00.dcm" in line for line in errors) == 2  # of the series and the zip
    assert any("roberta2.png" in line for line in errors)
    notes = [note for result in results for note in result["problems"]]
    assert sum(bool(re.match("slice-[0-9a-f]{10}: ", note)) for note in notes) == 3
    assert not [x for x in written(out) if x.endswith(".seg.dcm")]
    assert sum(any("No DICOM SEG" in x for x in result["notes"]) for result in results) == 2
    # The series and its zip are of one patient.
    patients = [result["patient"] for result in results if result["patient"]]
    assert len(patients) == 3 and len(set(patients)) == 2


def test_with_the_option_files_name_what_they_are_of(predict, home, tmp_path):
    predict(home)
    out = tmp_path / "out"
    folders = ["Roberta Doe", "roberta", "roberta_roberta", "slices of Roberta"]
    assert {x.parent.name for x in out.glob("*/result.json")} & set(folders)
    result = result_of(out / "Roberta Doe")
    assert result["patient"] == TAGS["PatientID"] and result["scan"] == TAGS["SeriesInstanceUID"]
    assert result["slices"][0]["file"] == str(home / "Roberta Doe" / "IM01.dcm")
    segmentation = pydicom.dcmread(out / "Roberta Doe" / "lesions.seg.dcm")
    assert segmentation.PatientName == TAGS["PatientName"]
    assert not (tmp_path / NAMES_FILE).exists()
    # The search finds what is there.
    found = {word for _, word in telling(out, [*WORDS, str(tmp_path)])}
    assert found == {*WORDS, str(tmp_path)}


def test_the_same_input_has_the_same_name_again(predict, home, tmp_path):
    predict(home / "roberta.nii.gz", hidden=True)
    before = written(tmp_path / "out")
    _, printed, _ = predict(home, hidden=True, options=["--resume"])
    assert "4 of 4 predicted, 1 of them before" in printed
    code, printed, errors = predict(home, hidden=True, options=["--resume"])
    assert code == 2 and "4 of them before" in printed
    assert sum("IM00.dcm" in line for line in errors) == 2  # real names, from the file of names
    assert set(before) <= set(written(tmp_path / "out"))
    assert len((tmp_path / NAMES_FILE).read_text().splitlines()) == 2 + 4 + 2 + 10


def test_results_with_and_without_identifiers_are_not_mixed(predict, home, slices, tmp_path):
    predict(slices)
    code, _, errors = predict(home, hidden=True)
    assert code == 2 and "has results with identifiers" in errors[0]


@pytest.mark.parametrize("place", ["out/names.csv", "out"])
def test_the_file_of_names_is_not_passed_on(predict, slices, tmp_path, place):
    code, _, errors = predict(slices, hidden=True, options=["--names", tmp_path / place])
    assert code == 2 and "would be passed on" in errors[0]
    assert not (tmp_path / "out").exists()


def test_lung_masks_are_found_by_the_names_of_scans(predict, home, tmp_path):
    masks = tmp_path / "masks"
    volume = read_volume(home / "roberta.nii.gz")
    lung = np.zeros(volume.hu.shape, np.int16)
    lung[:, 4:12] = 1
    write_volume(replace(volume, hu=lung), masks / "roberta.nii.gz")
    options = ["--lung", masks]
    code, _, errors = predict(home / "roberta.nii.gz", hidden=True, options=options)
    assert (code, errors) == (0, [])
    assert telling(tmp_path / "out", [*WORDS, str(tmp_path)]) == []
    (result,) = (result_of(x.parent) for x in (tmp_path / "out").glob("*/result.json"))
    assert "a mask in a file" in result["quantities"]["lung_method"]


def test_slices_for_training_have_pseudonyms_that_stay(command, home, tmp_path):
    given = home / "roberta.nii.gz"
    call = ("--label", "Control", "--skip-bad", "--output")
    assert command("prepare", "volumes", home / "Roberta Doe", *call, tmp_path / "a")[0] == 0
    zipped = (home / "roberta.zip", given)
    code, printed, _ = command("prepare", "volumes", *zipped, *call, tmp_path / "b")
    assert code == 0 and str(tmp_path / NAMES_FILE) in printed
    for name in "ab":
        assert telling(tmp_path / name, [*WORDS, str(tmp_path)]) == []
    lists = [list(csv.DictReader((tmp_path / x / "slices.csv").open())) for x in "ab"]
    first, then, other = lists[0][0], lists[1][0], lists[1][-1]
    assert first["patient"] == then["patient"] != other["patient"]
    assert first["scan"] == then["scan"] != other["scan"]
    assert (tmp_path / "a" / first["file"]).is_file()
    kept = (*call, tmp_path / "c", "--keep-identifiers")
    assert command("prepare", "volumes", home / "Roberta Doe", *kept)[0] == 0
    assert TAGS["PatientID"] in (tmp_path / "c" / "slices.csv").read_text()


def test_scans_are_judged_by_the_file_of_names(predict, runs, home, tmp_path):
    predict(home / "Roberta Doe", hidden=True, model=runs.lesion, lesion_model=None)
    lines = [f"Roberta Doe/IM0{z}.dcm,{z % 2}" for z in range(1, 4)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,infected", *lines, ""]))
    tool = Path(__file__).parents[2] / "tools" / "judge_scans.py"
    call = [sys.executable, tool, tmp_path / "out", tmp_path / "labels.csv"]
    without = subprocess.run(call, capture_output=True, text=True)
    assert without.returncode == 2 and "give their --names" in without.stderr
    known = [*call, "--names", tmp_path / NAMES_FILE]
    found = subprocess.run(known, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert re.search(r"\| scan-[0-9a-f]{10} \| 3 \| 2 \|", found.stdout)
