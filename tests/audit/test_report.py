"""The command: exit codes, files, text; and the published lists of COVIDx-CT-1."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from ctmasknet.wording import NOTICE

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

REFERENCE = Path(
    os.environ.get("CTMASKNET_REFERENCE")
    or Path(__file__).resolve().parents[3] / "shared" / "reference"
)
LISTS = REFERENCE / "splits"


def test_clean_set(audit, clean, tmp_path):
    output = tmp_path / "made" / "audit"
    code, printed, _ = audit(*clean, "--output", str(output))
    assert code == 0
    assert printed.startswith("no leak found")
    assert NOTICE in printed
    report = json.loads((output / "audit.json").read_text())
    assert report["verdict"] == "no leak found"
    assert (report["leak_count"], report["problem_count"]) == (0, 0)
    assert report["counts"][-1] == {
        "split": "test",
        "label": "all",
        "slices": 6,
        "scans": 3,
        "patients": 3,
    }
    assert sorted(file.name for file in output.iterdir()) == ["audit.html", "audit.json"]


def test_leaks_and_problems(audit, folder, clean, tmp_path):
    picture = Image.open(folder.path / "train/a_0.png")
    with open(clean[1], "a") as stream:
        stream.write(f"{folder.image('<b>new.jpg', picture, quality=40)},0,new,new\n")
        stream.writelines(f"gone{n}.png,0,gone,gone\n" for n in range(8))
    code, printed, _ = audit(*clean, "--output", str(tmp_path / "audit"))
    assert code == 1
    assert printed.startswith("1 leak found; not all was checked, see below\n")
    assert "nearly identical image in two splits: 1\n" in printed
    assert "and 3 more in audit.json" in printed
    report = json.loads((tmp_path / "audit/audit.json").read_text())
    (missing,) = report["problems"]
    assert (missing["kind"], missing["count"]) == ("missing_image", 8)
    assert len(missing["items"]) == 8
    (near,) = report["leaks"]
    assert near["items"][0]["splits"] == ["train", "test"]
    assert "8 of 15 images of test: missing or unreadable" in report["not_checked"]
    assert "8 of 15 images of test" in printed


class Page(HTMLParser):
    """All tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_page_is_one_file(audit, folder, clean, tmp_path):
    picture = Image.open(folder.path / "train/a_0.png")
    with open(clean[1], "a") as stream:
        stream.write(f"{folder.image('<b>new.jpg', picture, quality=40)},0,new,new\n")
    audit(*clean, "--output", str(tmp_path / "audit"))
    html = (tmp_path / "audit/audit.html").read_text()
    page = Page(html)
    assert page.text.index("1 leak found") < page.text.index("Not checked")
    assert NOTICE in page.text
    assert "<b>new.jpg" in page.text  # escaped
    assert not re.search(r"https?://", html)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 2  # the two of the leak
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in images)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}


def test_leak_without_a_picture(audit, folder, clean, tmp_path):
    (folder.path / "broken.png").write_bytes(b"")
    for path, who in zip(clean, "xy", strict=True):
        with open(path, "a") as stream:
            stream.write(f"broken.png,0,{who},{who}\n")
    assert audit(*clean, "--output", str(tmp_path / "audit"))[0] == 1
    page = Page((tmp_path / "audit/audit.html").read_text())
    assert "broken.png: listed in train and in test" in page.text
    assert "img" not in dict(page.tags)


def test_lesion_figures(audit, folder, tmp_path):
    mask = Image.new("L", (96, 96))
    mask.paste(2, (10, 10, 40, 40))
    for split in ("a", "b"):
        folder.image(f"{split}/image/{split}.png")
        folder.image(f"{split}/mask/{split}.png", mask)
    trees = [f"{split}={folder.path / split}/image,{folder.path / split}/mask" for split in "ab"]
    options = ["--preset", "medseg", "--output", str(tmp_path / "audit")]
    assert audit("--folders", *trees, *options)[0] == 0
    page = Page((tmp_path / "audit/audit.html").read_text())
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    shown = ["number of {} in a slice", "area of {}, share of the image"]
    names = [text.format(name) for name in ("GGO", "C") for text in shown]
    assert alts == [f"Histogram by split: {name}" for name in names]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.csv"], "nothing.csv"),
        (["no_such_set"], "not registered"),
        (["--covidx", "train"], "expected SPLIT=LIST"),
        (["--covidx", "train=gone.txt"], "gone.txt: no such split list"),
        (["--folders", "a=gone", "--preset", "cncb"], "expected SPLIT=IMAGES,MASKS"),
        (["--folders", "a=gone,gone", "--values", "1=x+y"], "mask value 1: lesion class"),
    ],
)
def test_what_cannot_be_audited(audit, tmp_path, arguments, message):
    code, _, error = audit(*arguments, "--output", str(tmp_path / "audit"))
    assert code == 2
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "audit").exists()


@pytest.mark.parametrize(
    "arguments",
    [[], ["a.csv", "--images", "x"], ["--folders", "a=b,c"], ["a.csv", "--near", "300"]],
)
def test_contradicting_options(audit, tmp_path, arguments):
    code, _, error = audit(*arguments, "--output", tmp_path)
    assert code == 2 and error.startswith("error: ")


def test_output_that_is_a_file(audit, clean):
    code, _, error = audit(*clean, "--output", clean[0])
    assert code == 2
    assert "is a file" in error


def test_two_splits_of_one_name(audit, folder, tmp_path):
    folder.image("image/a.png")
    folder.image("mask/a.png", Image.new("L", (96, 96)))
    tree = f"a={folder.path}/image,{folder.path}/mask"
    options = ["--preset", "cncb", "--output", str(tmp_path / "audit")]
    code, _, error = audit("--folders", tree, tree, *options)
    assert code == 2
    assert "two splits are called 'a'" in error


@pytest.mark.skipif(not LISTS.is_dir(), reason=f"no published split lists in {LISTS}")
def test_published_lists(audit, tmp_path):
    """No patient is shared; counts as published; the author's sample lies in the training list."""
    lists = [f"{split}={LISTS / f'{split}_COVIDx_CT-1.txt'}" for split in ("train", "val", "test")]
    options = ["--metadata", str(LISTS / "covidx_ct_metadata.csv")]
    options += ["--sample", str(LISTS / "author_classification_train.txt")]
    code, printed, _ = audit("--covidx", *lists, *options, "--output", str(tmp_path))
    assert code == 0
    report = json.loads((tmp_path / "audit.json").read_text())
    assert (report["leak_count"], report["problem_count"]) == (0, 0)
    whole = [row for row in report["counts"] if row["label"] == "all"]
    assert [row["slices"] for row in whole] == [61_782, 21_036, 21_191]
    assert [row["patients"] for row in whole] == [864, 332, 293]
    assert [row["slices"] for row in report["counts"][:3]] == [27_201, 22_061, 12_520]
    sample = report["sample"]
    assert sample["in_splits"] == {"train": 3_000, "val": 0, "test": 0}
    assert set(sample["classes"].values()) == {1_000}
    assert (sample["patients"], sample["in_none"]) == (608, 0)
    assert any("no --images" in note for note in report["not_checked"])
    assert "no --images" in printed


def test_no_whole_path_unless_it_is_asked_for(audit, folder, tmp_path):
    home = folder.__class__(tmp_path / "home's of <roberta>")
    lists = [home.patients(name, [f"{name}1"]) for name in ("train", "test")]
    alike = home.image("train/b.jpg", Image.open(home.path / "test/test1_0.png"), quality=40)
    with open(lists[0], "a") as stream:
        stream.write(f"gone.png,0,gone,gone\n{alike},0,b,b\n")
    for options, expected in (((), False), (("--keep-identifiers",), True)):
        output = tmp_path / f"audit{expected}"
        assert audit(*lists, "--output", str(output), *options)[0] == 1
        for page in ("audit.json", "audit.html"):
            text = (output / page).read_text()
            assert (str(tmp_path) in text) == expected
            assert "train/b.jpg" in text and "gone.png" in text
