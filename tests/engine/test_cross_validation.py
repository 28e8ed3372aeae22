"""Cross-validation on a few phantom slices, with trainings of two steps."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from ctmasknet.data.phantom import write_phantom
from ctmasknet.engine import load_config
from ctmasknet.engine.anchor_fit import describe_anchor_fit
from ctmasknet.engine.cross_validation import CrossValidation

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs/recipe/recipe_R18_T1.yaml")
SMALL = {
    **{"INPUT.MIN_SIZE_TRAIN": "(64,)", "INPUT.MIN_SIZE_TEST": "64"},
    **{"SOLVER.IMS_PER_BATCH": "2", "SOLVER.MAX_ITER": "2", "SOLVER.AVERAGE_DECAY": "0.9"},
    **{"DATALOADER.NUM_WORKERS": "0", "MODEL.RPN.POST_NMS_TOPK_TEST": "30"},
    **{"TEST.BOOTSTRAP_RESAMPLES": "20", "MODEL.DEVICE": "cpu"},
    "INPUT.MIN_LESION_AREA": "110",  # some of the phantoms' lesions are smaller
}
OPTS = tuple(x for item in SMALL.items() for x in item)


@pytest.fixture(scope="module")
def lesions(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "phantom"
    write_phantom(root, patients=12, slices=2, size=96, split=(2, 1, 1))
    return root / "lesion_both_train.json"


@pytest.fixture(scope="module")
def run(lesions, tmp_path_factory):
    """The first of two folds alone, then both."""
    output = tmp_path_factory.mktemp("runs") / "cv"
    validation = CrossValidation(CONFIG, lesions, output, folds=2, opts=OPTS)
    first = validation.run([0])
    weights = output / "fold_0" / "model_final.pth"
    written = weights.stat().st_mtime_ns
    both = validation.run()
    assert weights.stat().st_mtime_ns == written  # a finished fold is kept
    return validation, first, both


def test_folds_can_be_run_singly_and_are_collected(run, lesions):
    validation, first, both = run
    images = json.loads(lesions.read_text())["images"]
    assert (first["finished"], both["finished"]) == ([0], [0, 1])
    assert first["images"] < both["images"] == len(images)
    assert "PIXEL_SCORE_THRESH" in first["threshold_from"]
    assert "other folds" in both["threshold_from"] and len(both["thresholds"]) == 2
    assert both["suffixes"] == ["lesion", "GGO", "C"]
    dice = both["metrics"]["pixel"]["dice_all_GGO"]
    assert 0 <= dice["low"] <= dice["value"] <= dice["high"] <= 1 and len(dice["folds"]) == 2
    assert (validation.output / "row.md").read_text().count("\n") == 3


def test_pixels_are_judged_by_all_lesions_and_ap_by_those_of_training(run):
    validation, _, _ = run
    pixels, known = (
        json.loads((validation.output / f"held_out_{x}.json").read_text())
        for x in ("pixels", "test")
    )
    assert [x["id"] for x in pixels["images"]] == [x["id"] for x in known["images"]]
    areas = [x["area"] for x in pixels["annotations"]]
    assert min(areas) <= 110 and sum(x > 110 for x in areas) == len(known["annotations"])


def test_other_settings_in_the_same_folder_are_refused(run, lesions):
    validation, _, _ = run
    other = CrossValidation(CONFIG, lesions, validation.output, 2, opts=(*OPTS, "SEED", "9"))
    with pytest.raises(ValueError, match="fold_0: finished with other settings"):
        other.run([1])
    with pytest.raises(ValueError, match="fold 2: expected 0 to 1"):
        validation.run([2])


def test_models_of_another_run_predict_their_own_folds_alone(run, lesions, tmp_path):
    validation, _, both = run
    again = CrossValidation(CONFIG, lesions, tmp_path / "again", 2, 0, OPTS, validation.output)
    results = again.run()
    assert results["metrics"] == both["metrics"] and results["minutes"] == 0
    other = CrossValidation(CONFIG, lesions, tmp_path / "other", 2, 5, OPTS, validation.output)
    with pytest.raises(ValueError, match="fold 0 held out other slices"):
        other.run()


def test_a_second_step_starts_from_the_same_folds(run, lesions, tmp_path):
    first, _, _ = run
    one_step = (*OPTS, "SOLVER.MAX_ITER", "1", "SOLVER.BASE_LR", "1e-9")
    how = {"opts": one_step, "start_from": first.output}
    second = CrossValidation(CONFIG, lesions, tmp_path / "second", 2, **how)
    assert second.run([1])["start_from"] == str(first.output)
    before, after = (
        torch.load(x.output / "fold_1/model_final.pth", weights_only=True)["model"]
        for x in (first, second)
    )
    name = "backbone.fpn_lateral4.weight"
    assert torch.allclose(before[name], after[name], atol=1e-6)
    other = CrossValidation(CONFIG, lesions, tmp_path / "third", 2, 5, **how)
    with pytest.raises(ValueError, match="fold 0 held out other slices"):
        other.run([0])


@pytest.fixture(scope="module")
def lesion_free(lesions):
    """Slices of other patients, said to be without lesions: to train on, and to check."""
    files = []
    for part in ("val", "test"):
        content = json.loads(lesions.with_name(f"lesion_both_{part}.json").read_text())
        files.append(lesions.with_name(f"healthy_{part}.json"))
        files[-1].write_text(json.dumps({**content, "annotations": []}))
    return files


def test_lesion_free_slices_are_trained_on_and_checked(lesions, lesion_free, tmp_path):
    opts = (*OPTS, "DATALOADER.FILTER_EMPTY_ANNOTATIONS", "False", "SOLVER.MAX_ITER", "1")
    files = {"lesion_free": lesion_free[0], "lesion_free_check": lesion_free[1]}
    validation = CrossValidation(CONFIG, lesions, tmp_path / "cv_free", 2, opts=opts, **files)
    results = validation.run()
    names = {x["file_name"] for x in json.loads(lesion_free[0].read_text())["images"]}
    for index in range(2):
        cfg = validation.config(index)
        assert len(cfg.DATASETS.TRAIN) == 2 and "healthy_val" in cfg.DATASETS.TRAIN[1]
        held_out = json.loads(validation.part(index, "test").read_text())["images"]
        assert not names & {Path(x["file_name"]).name for x in held_out}
    check = results["lesion_free_check"]
    count = len(json.loads(lesion_free[1].read_text())["images"])
    assert check["images"] == count and len(check["called_lesion"]["folds"]) == 2
    assert all(0 <= x <= 1 for x in check["called_lesion"]["folds"])
    assert "lesion-free slices" in results["threshold_from"]
    assert "lesion-free called lesion" in (tmp_path / "cv_free/row.md").read_text()


def test_what_is_judged_must_not_be_trained_on(lesions, lesion_free, tmp_path):
    def refused(match, **files):
        with pytest.raises(ValueError, match=match):
            CrossValidation(CONFIG, lesions, tmp_path / "cv_refused", 2, opts=OPTS, **files).run()

    same = lesion_free[0]
    refused("healthy_val.json: image .* is in .*, too", lesion_free=same, lesion_free_check=same)
    refused("lesion_both_train.json: image .* is in", lesion_free=lesions)
    full = lesions.with_name("lesion_both_test.json")
    refused(r"lesion_both_test.json: has \d+ lesions, expected", lesion_free_check=full)
    refused("healthy_val.* has no lesions of .*EMPTY_ANNOTATIONS False", lesion_free=same)


def test_the_command_line_takes_what_is_finished(run, lesions, monkeypatch, capsys):
    validation, _, _ = run
    command = ["cross_validate.py", "--data", lesions, "--config-file", CONFIG]
    command += ["--output", validation.output, "--folds", "2", *OPTS]
    monkeypatch.setattr(sys, "argv", [*map(str, command)])
    runpy.run_path(str(ROOT / "tools" / "cross_validate.py"), run_name="__main__")
    assert "| recipe_R18_T1 | 2 of 2 |" in capsys.readouterr().out


def test_wider_anchors_reach_more_lesions(lesions):
    papers, wide = (
        describe_anchor_fit(load_config(str(ROOT / "configs" / name), datasets=False), lesions)
        for name in ("lesion/R50_both.yaml", "recipe/recipe_R18_T1.yaml")
    )
    assert "anchors of [[8, 16, 32, 64, 128]] px" in wide
    recall = [
        int(next(x for x in text.splitlines() if x.startswith("all")).split()[6].rstrip("%"))
        for text in (papers, wide)
    ]
    assert recall[0] < recall[1]
