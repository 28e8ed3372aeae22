"""COVIDx-CT's lists: names of every source, lines at fault, samples."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ctmasknet.data.covidx import (
    balanced_sample,
    listed_sample,
    parse_slice_name,
    read_covidx_list,
)
from ctmasknet.data.image_lists import load_image_list
from ctmasknet.data.list_paths import VARIABLE
from ctmasknet.errors import collecting

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT.parent / "shared" / "reference" / "splits"
needs_lists = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason=f"the published split lists are not at {PUBLISHED}"
)
METADATA = """patient id,source,country
NCP_96,CNCB,China
radiopaedia_10_85902,COVID-19-CT-Seg,Iran
patient1,COVID-CTset,Iran
"""


@pytest.mark.parametrize(
    ("name", "patient", "scan", "number", "label"),
    [
        ("NCP_96_1328_0032.png", "NCP_96", "NCP_96_1328", 32, 2),
        ("CP_0_3131_0001.png", "CP_0", "CP_0_3131", 1, 1),
        ("dir/Normal_1728_1013_0023.png", "Normal_1728", "Normal_1728_1013", 23, 0),
        ("0_1728_1013_0023.png", "Normal_1728", "Normal_1728_1013", 23, 0),
        ("1_10_3137_0100.png", "CP_10", "CP_10_3137", 100, 1),
        ("coronacases_001-0041.png", "coronacases_001", "coronacases_001", 41, None),
        (
            "radiopaedia_10_85902_1-0040.png",
            "radiopaedia_10_85902_1",
            "radiopaedia_10_85902_1",
            40,
            None,
        ),
        (
            "volume-covid19-A-0003_ct-0012.png",
            "volume-covid19-A-0003",
            "volume-covid19-A-0003_ct",
            12,
            None,
        ),
        (
            "137covid_patient1_SR_2_IM00010.png",
            "137covid_patient1",
            "137covid_patient1_SR_2",
            10,
            None,
        ),
        ("LIDC-IDRI-0068-0012.png", "LIDC-IDRI-0068", "LIDC-IDRI-0068", 12, None),
        ("radiopaedia-11516-2-0012.png", "radiopaedia-11516", "radiopaedia-11516-2", 12, None),
        ("study_0255-0012.png", "study_0255", "study_0255", 12, None),
        ("HUST-Patient1-0022.png", "HUST-Patient1", "HUST-Patient1", 22, None),
        ("COVIDCTMD-P001-IM0012.png", "COVIDCTMD-P001", "COVIDCTMD-P001", 12, None),
        ("STOIC-10011-0012.png", "STOIC-10011", "STOIC-10011", 12, None),
        ("A002304-0012.png", "A002304", "A002304", 12, None),
    ],
)
def test_names(name, patient, scan, number, label):
    assert parse_slice_name(name) == (patient, scan, number, label)


@pytest.mark.parametrize("name", ["", "slice.png", "NCP_96_0032.png", "3_1_2_3.png", "12.png"])
def test_unknown_names(name):
    assert parse_slice_name(name) is None


@pytest.fixture
def write(tmp_path):
    def write(*lines, name="list.txt"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def test_records(write, tmp_path):
    path = write(
        "NCP_96_1328_0032.png 2 9 94 600 405",
        "radiopaedia_10_85902_1-0040.png 2 0 0 10 10",
        "137covid_patient1_SR_2_IM00010.png 2 0 0 10 10",
        "Normal_1_2_0003.png 0 0 0 512 512",
    )
    plain = read_covidx_list(path)
    assert plain[0] == {
        "file_name": "NCP_96_1328_0032.png",
        "image_id": "NCP_96_1328_0032.png",
        "label": 2,
        "patient": "NCP_96",
        "scan": "NCP_96_1328",
        "source": "",
        "body_box": [9, 94, 600, 405],
    }
    metadata = tmp_path / "metadata.csv"
    metadata.write_text(METADATA)
    known = read_covidx_list(path, images=tmp_path / "images", metadata=metadata)
    assert known[0]["file_name"] == str(tmp_path / "images" / "NCP_96_1328_0032.png")
    assert [(record["patient"], record["source"]) for record in known] == [
        ("NCP_96", "CNCB"),
        ("radiopaedia_10_85902", "COVID-19-CT-Seg"),  # two of his scans must not be two patients
        ("137covid_patient1", "COVID-CTset"),
        ("Normal_1", ""),
    ]


BAD_LINES = {
    "NCP_1_2_0003.png 2 0 0 10": r"found 5 fields, expected 6 \(`filename class",
    "NCP_1_2_0003.png 3 0 0 10 10": "class '3', expected 0 Control, 1 Common Pneumonia, 2 COVID-19",
    "NCP_1_2_0003.png 2 0 0 ten 10": "box '0 0 ten 10', expected four whole numbers",
    "NCP_1_2_0003.png 2 10 0 10 10": "box '10 0 10 10' is empty",
    "slice7.png 2 0 0 10 10": r"slice7\.png has no known form.*CSV file,label,patient,scan",
    "NCP_1_2_0001.png 2 0 0 10 10": r"NCP_1_2_0001\.png is already in line 1",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_lines(write, line):
    path = write("NCP_1_2_0001.png 2 0 0 10 10", "", line, "NCP_1_2_0004.png 2 0 0 10 10")
    with pytest.raises(ValueError, match=rf"list\.txt, line 3: {BAD_LINES[line]}"):
        read_covidx_list(path)
    errors = collecting()
    names = [record["image_id"] for record in read_covidx_list(path, errors=errors)]
    assert names == ["NCP_1_2_0001.png", "NCP_1_2_0004.png"]
    assert len(errors.messages) == 1
    assert re.match(rf".*list\.txt, line 3: {BAD_LINES[line]}", errors.messages[0])


def test_bad_files(write, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such split list"):
        read_covidx_list(tmp_path / "none.txt")
    with pytest.raises(ValueError, match="no usable line"):
        read_covidx_list(write("x"), errors=collecting())
    (tmp_path / "zip.txt").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(ValueError, match=r"zip\.txt: not a text file"):
        read_covidx_list(tmp_path / "zip.txt")
    good = write("NCP_1_2_0001.png 2 0 0 10 10")
    with pytest.raises(ValueError, match=r"line 1: .*expected .patient id,source. \(no source\)"):
        read_covidx_list(good, metadata=write("patient id,country", name="m.csv"))
    with pytest.raises(FileNotFoundError, match=r"none\.csv: no such metadata"):
        read_covidx_list(good, metadata=tmp_path / "none.csv")


def records(*counts):
    return [
        {"image_id": f"{label}_{i}_1_0001.png", "label": label}
        for label, count in enumerate(counts)
        for i in range(count)
    ]


def test_balanced_sample():
    many = records(30, 20, 10)
    sample = balanced_sample(many, 10, seed=0)
    assert Counter(record["label"] for record in sample) == {0: 10, 1: 10, 2: 10}
    assert sample == [record for record in many if record in sample]
    assert sample == balanced_sample(many, 10, seed=0)
    assert sample != balanced_sample(many, 10, seed=1)
    # Pinned: the same on any machine and version.
    first = [record["image_id"] for record in balanced_sample(many, 2, seed=0)]
    assert first[:2] == PINNED
    with pytest.raises(ValueError, match="class 2 has 10 slices, cannot draw 11"):
        balanced_sample(many, 11, seed=0)


PINNED = ["0_8_1_0001.png", "0_11_1_0001.png"]


def test_listed_sample(write):
    path = write(
        "NCP_1_2_0001.png 2 0 0 9 9", "CP_1_2_0001.png 1 0 0 9 9", "CP_1_2_0002.png 1 0 0 9 9"
    )
    known = read_covidx_list(path)
    names = write("1_1_2_0002.png", "NCP_1_2_0001.png", name="names.txt")
    chosen = listed_sample(known, names)
    assert [record["image_id"] for record in chosen] == ["CP_1_2_0002.png", "NCP_1_2_0001.png"]
    with pytest.raises(ValueError, match=r"line 3: CP_1_2_0002\.png is named twice"):
        twice = ("1_1_2_0002.png", "NCP_1_2_0001.png", "CP_1_2_0002.png")
        listed_sample(known, write(*twice, name="names.txt"))
    with pytest.raises(ValueError, match="found no name"):
        listed_sample(known, write("", name="names.txt"))
    with pytest.raises(ValueError, match=r"names\.txt, line 2: 0_1_2_0002\.png is not in"):
        listed_sample(known, write("1_1_2_0002.png", "0_1_2_0002.png", name="names.txt"))


def test_command(write, tmp_path, command, monkeypatch):
    names = [f"{group}_{i}_9_0001.png" for group in ("Normal", "CP", "NCP") for i in range(4)]
    path = write(*(f"{name} {i // 4} 0 0 20 30" for i, name in enumerate(names)))
    images = tmp_path / "images"
    images.mkdir()
    for name in names:
        Image.fromarray(np.full((30, 20), 90, np.uint8)).save(images / name)

    def run(*args):
        return command("prepare", "covidx", path, *args, "--images", images)

    output = tmp_path / "lists" / "sample.csv"
    _, printed, _ = run(output, "--per-class", 2)
    assert "6 slices of 6 patients (Control 2, Common Pneumonia 2, COVID-19 2)" in printed
    assert printed.strip().endswith(f"needs --data-root {images}")
    monkeypatch.setenv(VARIABLE, str(images))
    sample = load_image_list(output)
    assert {Path(record["file_name"]).resolve().parent for record in sample} == {images.resolve()}
    assert sample[0]["body_box"] == [0, 0, 20, 30]
    assert sample[-1]["patient"].startswith("NCP_")
    (images / names[0]).write_bytes(b"")
    code, _, error = run(tmp_path / "all.csv")
    assert code == 2 and names[0] in error
    assert not (tmp_path / "all.csv").exists()
    _, printed, _ = run(tmp_path / "all.csv", "--skip-bad")
    assert "11 slices" in printed
    assert "skipped 1:" in printed
    assert names[0] in printed


@needs_lists
@pytest.mark.parametrize(
    ("split", "slices", "patients", "by_class"),
    [
        ("train", 61782, 864, [27201, 22061, 12520]),
        ("val", 21036, 332, [9107, 7400, 4529]),
        ("test", 21191, 293, [9450, 7395, 4346]),
    ],
)
def test_published_counts(split, slices, patients, by_class):
    known = read_covidx_list(PUBLISHED / f"{split}_COVIDx_CT-1.txt")
    assert len(known) == slices
    assert len({record["patient"] for record in known}) == patients
    counts = Counter(record["label"] for record in known)
    assert [counts[label] for label in range(3)] == by_class
    assert all(parse_slice_name(record["image_id"]).label == record["label"] for record in known)


@needs_lists
def test_published_samples():
    known = read_covidx_list(PUBLISHED / "train_COVIDx_CT-1.txt")
    author = listed_sample(known, PUBLISHED / "author_classification_train.txt")
    assert Counter(record["label"] for record in author) == {0: 1000, 1: 1000, 2: 1000}
    assert len({record["patient"] for record in author}) == 608
    assert len(balanced_sample(known, 1000, seed=0)) == 3000
