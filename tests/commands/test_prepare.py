"""`ctmasknet prepare`: what it writes under which names."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from ctmasknet.data.builtin import register_builtin
from ctmasknet.data.image_lists import find_classes, load_image_list
from ctmasknet.data.list_paths import VARIABLE

SCRIPTS = Path(__file__).parents[2] / "datasets"


@pytest.fixture
def run(command):
    """Run a part of the command; return what it printed."""

    def run(name, *args):
        code, printed, errors = command("prepare", name, *args)
        assert code == 0, errors
        return printed

    return run


@pytest.fixture
def fail(command):
    """Run a part of the command that cannot go on; return its error."""

    def fail(name, *args):
        code, _, errors = command("prepare", name, *args)
        assert code == 2 and errors.startswith("error: ")
        return errors

    return fail


@pytest.fixture
def root(tmp_path, monkeypatch):
    """$DETECTRON2_DATASETS, and catalogs in which our names have not been registered."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    for catalog in (DatasetCatalog, MetadataCatalog):
        monkeypatch.setattr(catalog, "data", {})
    register_builtin()
    return tmp_path


def write_pair(image, mask, value):
    """A slice of lung with a 12 x 12 lesion of the value, and a tiny one of 3 x 3."""
    pixels = np.ones((40, 50), np.uint8)
    pixels[:, :5] = 0
    pixels[10:22, 20:32] = value
    pixels[30:33, 40:43] = value
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels * 50).save(image)
    Image.fromarray(pixels).save(mask)


@pytest.fixture(params=["nested", "flattened"])
def cncb(request, root):
    """Ten patients with two slices each, the first GGO, the second consolidation."""
    join = "/" if request.param == "nested" else "_"
    tree = root / "cncb_lesion"
    for patient in range(10):
        for number, value in ((5, 2), (15, 3)):
            name = f"{patient}{join}{number}"
            write_pair(tree / f"image/{name}.jpg", tree / f"mask/{name}.png", value)
    return tree


def patients(name):
    return {record["patient"] for record in DatasetCatalog.get(name)}


def test_cncb(run, cncb):
    printed = run("dataset", "cncb")
    assert "lesion_train.json: 7 patients, 14 images, 0 lesion-free" in printed
    parts = [patients(f"cncb_lesion_{split}") for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [7, 1, 2]
    assert set().union(*parts) == {str(patient) for patient in range(10)}
    first = DatasetCatalog.get("cncb_lesion_train")[0]
    assert [item["bbox"] for item in first["annotations"]] == [[20, 10, 12, 12], [40, 30, 3, 3]]
    assert MetadataCatalog.get("cncb_lesion_train").thing_classes == ["GGO", "C"]


def test_cncb_by_published_lists(run, fail, cncb):
    train, test = cncb / "train.txt", cncb / "test.txt"
    train.write_text("".join(f"{p}_5.jpg\n{p}_15.jpg\n" for p in range(6)))
    test.write_text("8_5.jpg\n9_15.jpg\n")
    run("dataset", "cncb")
    printed = run("dataset", "cncb", "--lists", train, test)
    assert "no val part" in printed
    assert not (cncb / "lesion_val.json").exists()  # the older one shared patients with train
    assert patients("cncb_lesion_train") == set("012345")
    assert len(DatasetCatalog.get("cncb_lesion_test")) == 2
    run("dataset", "cncb", "--lists", train, test, "--val-fraction", 0.3)
    val = {
        image["patient"] for image in json.loads((cncb / "lesion_val.json").read_text())["images"]
    }
    assert len(val) == 2
    assert val < set("012345")
    test.write_text("5_5.jpg\n")
    error = fail("dataset", "cncb", "--lists", train, test)
    assert "patient 5 is in the list of train, too" in error


def test_cncb_by_rank(run, cncb):
    masks = [np.array(Image.open(path)) for path in (cncb / "mask").rglob("*15.png")]
    assert [sorted(np.unique(mask)) for mask in masks] == [[0, 1, 3]] * 10
    run("dataset", "cncb", "--by-rank")
    records = DatasetCatalog.get("cncb_lesion_by_rank_train")
    # Consolidation, the third of the values present, is called GGO.
    assert {item["category_id"] for record in records for item in record["annotations"]} == {0}
    assert json.loads((cncb / "lesion_by_rank_train.json").read_text())["info"]["values_by_rank"]
    assert not (cncb / "lesion_train.json").exists()


def test_medseg(run, fail, root):
    tree = root / "medseg_lesion"
    for number in range(10):
        value = 1 + number % 3  # 3 = pleural effusion
        write_pair(tree / f"images/tr_{number}.png", tree / f"masks/tr_{number}.png", value)
    printed = run("dataset", "medseg", "--split", 6, 2, 2)
    assert "patients are unknown" in printed
    assert [len(DatasetCatalog.get(f"medseg_lesion_{s}")) for s in ("train", "val", "test")] == [
        6,
        2,
        2,
    ]
    (tree / "masks/tr_0.png").unlink()
    assert "tr_0.png: no mask" in fail("dataset", "medseg")
    assert "skipped 1:\n" in run("dataset", "medseg", "--skip-bad")


def test_missing_tree(fail, root):
    message = fail("dataset", "cncb")
    assert f"error: {root}/cncb_lesion: no such folder; expected image/" in message


@pytest.fixture
def slices(tmp_path):
    """slices.csv: 20 patients with two slices each, labels of one's own."""
    lines = ["file,label,patient,scan"]
    for patient in range(20):
        for number in range(2):
            Image.new("L", (9, 9)).save(tmp_path / f"{patient}_{number}.png")
            label = "well" if patient % 4 else "ill"
            lines.append(f"{patient}_{number}.png,{label},p{patient},s{patient}")
    path = tmp_path / "slices.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_split_image_list(run, fail, slices, tmp_path, monkeypatch):
    printed = run("split", slices, "--output", tmp_path / "parts", "--seed", 1)
    assert "slices_train.csv: 28 slices of 14 patients (ill 8, well 20)" in printed
    files = [tmp_path / "parts" / f"slices_{part}.csv" for part in ("train", "val", "test")]
    assert find_classes(files) == ("ill", "well")
    assert f"{files[2]} names files outside its folder: what reads it needs --data" in printed
    monkeypatch.setenv(VARIABLE, "")
    assert "slices_train.csv, line 2: ../" in fail("split", files[0])
    run("split", files[0], "--data-root", tmp_path)
    parts = [load_image_list(file, ("ill", "well")) for file in files]
    assert sum(map(len, parts)) == 40
    found = [{record["patient"] for record in part} for part in parts]
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])


def test_split_keeps_labels_and_columns_as_they_are(run, tmp_path):
    lines = ["file,label,patient,scan,age"]
    for number in range(6):
        Image.new("L", (9, 9)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{number % 2 * 4},p{number},s{number},{number + 50}")
    path = tmp_path / "own.csv"
    path.write_text("\n".join(lines) + "\n")
    printed = run("split", path, "--parts", "train=2", "val=1")
    assert "own_train.csv: 4 slices of 4 patients (0 2, 4 2)" in printed
    parts = [(tmp_path / f"own_{part}.csv").read_text().splitlines() for part in ("train", "val")]
    assert sorted(parts[0][1:] + parts[1][1:]) == lines[1:]
    assert parts[0][0] == parts[1][0] == lines[0]
    printed = run("split", path, "--parts", "train=2", "test=1")
    assert "own_val.csv: of an earlier split, may share patients" in printed


def test_split_lesions_and_covidx(run, fail, tmp_path):
    size = {"height": 8, "width": 8}
    images = [{"id": k, "file_name": f"{k}.png", "patient": f"p{k}", **size} for k in range(4)]
    path = tmp_path / "lesions.json"
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    run("split", path, "--parts", "a=3", "b=1", "--output", tmp_path / "sub")
    part = json.loads((tmp_path / "sub" / "lesions_a.json").read_text())
    assert len(part["images"]) == 3
    assert part["images"][0]["file_name"].startswith("../")
    lines = []
    for number in range(4):
        Image.new("L", (9, 9)).save(tmp_path / f"CP_{number}_1_0001.png")
        lines.append(f"CP_{number}_1_0001.png 1 0 0 9 9\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    printed = run("split", tmp_path / "list.txt", "--images", tmp_path, "--parts", "a=1", "b=1")
    assert "list_b.csv: 2 slices of 2 patients" in printed
    for args, message in (
        ([tmp_path / "list.txt"], "need the folder of the images"),
        ([tmp_path / "x.csv"], "x.csv: no such image list"),
        ([tmp_path / "x.json"], "x.json: no such file"),
        ([path, "--parts", "a=1", "a=2"], "two parts have the same name"),
        ([path, "--parts", "a=1", "b=-1"], "positive"),
        ([path, "--parts", "=1", "b=1"], "part '': expected a name"),
    ):
        assert message in fail("split", *args)


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_scripts_beside_the_data_are_the_same(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(script), run_name="__main__")
    assert stop.value.code == 0
    part = {"make_phantom": "phantom", "prepare_covidx_ct": "covidx", "split_dataset": "split"}
    expected = part.get(script.stem, script.stem.split("_")[-1])
    assert capsys.readouterr().out.startswith(f"usage: ctmasknet prepare {expected} ")


def test_weights_of_no_known_kind(fail, tmp_path):
    target = tmp_path / "ours.pth"
    assert "none.pth: no such file" in fail("weights", tmp_path / "none.pth", target)
    torch.save({"a": torch.zeros(1)}, tmp_path / "theirs.pth")
    assert "no ResNet-18, 34 or 50" in fail("weights", tmp_path / "theirs.pth", target)
    error = fail("weights", tmp_path / "theirs.pth", target, "--mask-type", "ggo")
    assert "--mask-type and --frozen-eps are for the author's files" in error
    (tmp_path / "page.pth").write_text("<html>")
    assert "not a file saved by PyTorch" in fail("weights", tmp_path / "page.pth", target)
    assert not target.exists()
