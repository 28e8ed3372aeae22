"""Slices without lesions as a COCO file that joins one with lesions."""

import json

import numpy as np
import pytest
from detectron2.data.datasets import load_coco_json
from PIL import Image

from ctmasknet.data.lesion_free import prepare_lesion_free
from ctmasknet.errors import collecting

CATEGORIES = [{"id": 1, "name": "GGO"}, {"id": 2, "name": "C"}]


@pytest.fixture
def like(tmp_path):
    path = tmp_path / "lesions.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": CATEGORIES}))
    return path


@pytest.fixture
def slices(tmp_path):
    """slices.csv of four slices in healthy/, the third infected, without a patient in the last."""
    lines = ["file,patient,scan,infected"]
    for i, rest in enumerate(("p1,s1,0", "p1,s1,0", "p2,s2,1", ",,0")):
        path = tmp_path / f"healthy/p{i // 2}/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30 + i), 60, np.uint8)).save(path)
        lines.append(f"healthy/p{i // 2}/{i}.png,{rest}")
    path = tmp_path / "slices.csv"
    path.write_text("\n".join(lines))
    return path


def test_lines_of_a_list_that_have_a_value(command, slices, like, tmp_path):
    output = tmp_path / "made" / "free.json"
    output.parent.mkdir()
    arguments = ("prepare", "lesion-free", slices, output, "--like", like)
    status, printed, errors = command(*arguments, "--where", "infected=0")
    assert status == 0, errors
    assert "1 patient, 3 images, 3 lesion-free" in printed
    made = json.loads(output.read_text())
    assert made["images"] == [
        {"id": 1, "file_name": "../healthy/p0/0.png", "height": 20, "width": 30}
        | {"patient": "p1", "scan": "s1"},
        {"id": 2, "file_name": "../healthy/p0/1.png", "height": 20, "width": 31}
        | {"patient": "p1", "scan": "s1"},
        {"id": 3, "file_name": "../healthy/p1/3.png", "height": 20, "width": 33},
    ]
    assert made["annotations"] == [] and made["categories"] == CATEGORIES
    records = load_coco_json(str(output), str(output.parent))
    assert [x["annotations"] for x in records] == [[], [], []]
    status, _, errors = command(*arguments, "--where", "infected")
    assert status == 2 and "'infected': expected COLUMN=VALUE" in errors


def test_all_slices_of_a_folder(slices, like, tmp_path):
    prepare_lesion_free(tmp_path / "healthy", tmp_path / "free.json", like)
    made = json.loads((tmp_path / "free.json").read_text())
    found = [(x["file_name"], x["patient"]) for x in made["images"]]
    assert found[0] == ("healthy/p0/0.png", "p0") and found[3] == ("healthy/p1/3.png", "p1")


def test_images_are_checked_and_bad_ones_can_be_skipped(slices, like, tmp_path):
    (tmp_path / "healthy/p0/1.png").write_bytes(b"")
    output = tmp_path / "free.json"
    with pytest.raises(ValueError, match=r"1\.png: cannot be read as an image \(empty"):
        prepare_lesion_free(slices, output, like)
    assert not output.exists()
    errors = collecting()
    prepare_lesion_free(slices, output, like, errors=errors)
    assert len(json.loads(output.read_text())["images"]) == 3 and len(errors.messages) == 1


def test_what_cannot_be_made(slices, like, tmp_path):
    output = tmp_path / "free.json"
    for args, match in (
        ((slices, output, like, [("infected", "2")]), "slices.csv: found no slice with infected=2"),
        ((slices, output, like, [("ill", "0")]), r"no ill\)"),
        ((tmp_path / "healthy", output, like, [("ill", "0")]), r"--where\), expected a list"),
        ((slices, like, like), "lesions.json: expected the name of a new .json"),
        ((slices, tmp_path / "free.csv", like), "free.csv: expected the name of a new .json"),
        ((slices, output, slices), "slices.csv: not a usable COCO instances file"),
    ):
        with pytest.raises(ValueError, match=match):
            prepare_lesion_free(*args)
    for args, match in (
        ((slices, output, tmp_path / "gone.json"), "gone.json: no such COCO file"),
        ((tmp_path / "gone", output, like), "gone: no such folder"),
        ((tmp_path / "gone.csv", output, like), "gone.csv: no such list of slices"),
    ):
        with pytest.raises(FileNotFoundError, match=match):
            prepare_lesion_free(*args)
    assert not output.exists()


@pytest.mark.parametrize("named", [".", "slices"])
def test_a_folder_with_a_list_of_its_patients_is_refused(like, tmp_path, named):
    folder = tmp_path / "prepared"
    (folder / "slices" / "1.2.3").mkdir(parents=True)
    Image.fromarray(np.full((20, 30), 60, np.uint8)).save(folder / "slices/1.2.3/0000.png")
    (folder / "slices.csv").write_text("file,label,patient,scan\nslices/1.2.3/0000.png,0,p7,s\n")
    output = tmp_path / "free.json"
    with pytest.raises(ValueError, match=r"stand in .*prepared/slices\.csv: name that list"):
        prepare_lesion_free(folder / named, output, like)
    prepare_lesion_free(folder / "slices.csv", output, like)
    assert json.loads(output.read_text())["images"][0]["patient"] == "p7"
