"""Several configs on the same folds, each training a process."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import tiny_model

from ctmasknet.engine.fold_runs import FoldRuns, Run, read_runs

pytestmark = pytest.mark.slow  # processes that train

SMALL = (
    *("SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "4", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64"),
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("slices")
    random = np.random.default_rng(0)
    rows = ["file,label,patient,scan"]
    for i in range(12):
        Image.fromarray(random.integers(0, 255, (64, 64), np.uint8)).save(root / f"{i}.png")
        rows.append(f"{i}.png,{'ab'[i % 2]},{i}.png,{i}.png")
    (root / "slices.csv").write_text("\n".join(rows) + "\n")
    torch.save({"model": tiny_model("lesion").state_dict()}, root / "lesion.pth")
    return root / "slices.csv"


def test_lists_of_runs(tmp_path):
    path = tmp_path / "runs.txt"
    path.write_text("# heads\none R18_T1_pooled\n\ntwo ResNet18 A.B '(1, 2)'  # longer\n")
    runs = [Run("one", "R18_T1_pooled"), Run("two", "ResNet18", ("A.B", "(1, 2)"))]
    assert read_runs(path) == runs
    for text, message in (
        ("one", "line 1: expected NAME CONFIG"),
        ("one ResNet18 KEY", "line 1: expected NAME CONFIG"),
        ("one ResNet18\none ResNet18", "line 2: expected NAME CONFIG"),
        ("../one ResNet18", "line 1: expected NAME CONFIG"),
        ("# none", "no run in it"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_runs(path)
    with pytest.raises(FileNotFoundError, match="no such list of runs"):
        read_runs(tmp_path / "none.txt")


def test_folds_have_each_slice_once_and_both_labels(images, tmp_path):
    runs = FoldRuns([Run("a", "ResNet18")], images, tmp_path / "out", folds=3)
    runs._write_folds()
    held_out = []
    for i in range(3):
        rows = {}
        for kind in ("train", "test"):
            with runs.part(i, kind).open() as stream:
                rows[kind] = [(x["patient"], x["label"]) for x in csv.DictReader(stream)]
        assert len(rows["test"]) == 4 and len(rows["train"]) == 8
        assert not set(rows["test"]) & set(rows["train"])
        assert sorted(label for _, label in rows["test"]) == ["a", "a", "b", "b"]
        held_out += [name for name, _ in rows["test"]]
    assert sorted(held_out) == sorted(f"{i}.png" for i in range(12))


def test_two_runs_on_one_fold_then_nothing_is_left_to_do(images, tmp_path, monkeypatch):
    heads = ("MODEL.TRAINABLE", "heads", "MODEL.RANKED_BOXES.NUM", "8")
    heads += ("MODEL.RPN.POST_NMS_TOPK_TEST", "30")
    runs = [Run("hist", "IntensityHistogram"), Run("pooled", "R18_T1_pooled", heads)]
    weights = str(images.parent / "lesion.pth")
    experiment = FoldRuns(runs, images, tmp_path / "out", weights, folds=3, opts=SMALL)
    results = experiment.run([0], jobs=2)
    assert results["slices"] == {"hist": 4, "pooled": 4} and results["reference"] == "hist"
    assert set(results["differences"]) == {"pooled"} and results["split_seed"] == 0
    assert {"results.json", "table.md", "comparison.png"} <= {
        x.name for x in (tmp_path / "out").iterdir()
    }
    trained = json.loads((tmp_path / "out/pooled/fold_0/results.json").read_text())
    assert trained["weights"].endswith("model_final.pth")
    monkeypatch.setattr(FoldRuns, "_train", None)  # as it may not be called
    assert experiment.run([0])["metrics"] == results["metrics"]
    other = FoldRuns(runs, images, tmp_path / "out", weights, folds=3, opts=(*SMALL, "SEED", "7"))
    with pytest.raises(ValueError, match="finished with other settings or data"):
        other.run([0])


def test_a_failing_run_is_named_and_the_others_go_on(images, tmp_path):
    runs = [Run("hist", "IntensityHistogram"), Run("bad", "IntensityHistogram", ("SEED", "'x'"))]
    experiment = FoldRuns(runs, images, tmp_path / "out", folds=3, opts=SMALL)
    with pytest.raises(ValueError, match="SEED"):  # found before anything is trained
        experiment.run([0])
    runs[1] = Run("bad", "R18_T1_pooled", ("MODEL.WEIGHTS", "none.pth"))
    with pytest.raises(ValueError, match=r"1 training\(s\) failed: see .*bad.*console.txt"):
        experiment.run([0])
    assert (tmp_path / "out/hist/fold_0/finished.json").is_file()
    assert "none.pth" in (tmp_path / "out/bad/fold_0/console.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"), [({"only": [3]}, "fold 3: expected 0 to 2"), ({"jobs": 0}, "jobs is")]
)
def test_wrong_arguments(images, tmp_path, arguments, message):
    experiment = FoldRuns([Run("a", "ResNet18")], images, tmp_path / "out", folds=3)
    with pytest.raises(ValueError, match=message):
        experiment.run(**arguments)


def test_one_shot_wants_lesions(images, tmp_path):
    experiment = FoldRuns([Run("a", "R18_T1_one_shot")], images, tmp_path / "out", folds=3)
    with pytest.raises(ValueError, match="a: one-shot training wants lesions, too"):
        experiment.run([0])
