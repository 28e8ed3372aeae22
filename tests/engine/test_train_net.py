"""Both stages through the command line's functions, on a phantom data set of a few slices."""

import itertools
import json
import math
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.engine import default_argument_parser
from PIL import Image
from tiny_models import tiny_cfg

from ctmasknet.data.phantom import write_phantom
from ctmasknet.engine import Trainer, load_config, read_results, write_results
from ctmasknet.evaluation.lesion_files import read_lesions
from ctmasknet.evaluation.lesion_report import LesionReportSettings, report_lesions
from ctmasknet.provenance import sha256_of

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

ROOT = Path(__file__).parents[2]
SMALL = {
    "INPUT.MIN_SIZE_TRAIN": "(64,)",
    "INPUT.MIN_SIZE_TEST": "64",
    "SOLVER.IMS_PER_BATCH": "2",
    "SOLVER.STEPS": "()",
    "DATALOADER.NUM_WORKERS": "0",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": "60",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "30",
    "MODEL.RANKED_BOXES.NUM": "8",
    "MODEL.IMAGE_HEAD.FC_DIM": "8",
    "TEST.DETECTIONS_PER_IMAGE": "10",
    "TEST.BOOTSTRAP_RESAMPLES": "20",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "phantom"
    write_phantom(root, patients=9, slices=2, size=96, split=(1, 1, 1))
    return root


@pytest.fixture(scope="module")
def train_net():
    return runpy.run_path(str(ROOT / "tools" / "train_net.py"))["main"]


def run(train_net, config, data, output, *opts, **flags):
    kind = "lesion_merge_{}.json" if "lesion" in config else "{}.csv"
    names = {k: str(data / kind.format(v)) for k, v in SPLITS.items()}
    command = ["--config-file", str(ROOT / "configs/quick" / f"{config}.yaml")]
    command += [f"--{flag.replace('_', '-')}" for flag in flags]
    command += [*itertools.chain(*SMALL.items()), "OUTPUT_DIR", str(output)]
    for key, path in names.items():
        command += [f"DATASETS.{key}", f"('{path}',)"]
    return train_net(default_argument_parser().parse_args([*command, *opts]))


SPLITS = {"TRAIN": "train", "VALIDATION": "val", "TEST": "test"}


@pytest.fixture(scope="module")
def lesion_run(data, train_net, tmp_path_factory):
    """Ten iterations, then resumed up to twenty."""
    output = tmp_path_factory.mktemp("lesion")
    schedule = ["TEST.EVAL_PERIOD", "10", "SOLVER.CHECKPOINT_PERIOD", "10"]
    run(train_net, "lesion_R18_T1", data, output, *schedule, "SOLVER.MAX_ITER", "10")
    first = json.loads((output / "model_best.json").read_text())
    metrics = run(
        train_net, "lesion_R18_T1", data, output, *schedule, "SOLVER.MAX_ITER", "20", resume=True
    )
    return output, first, metrics


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_resumed_training_goes_on_where_it_stopped(lesion_run):
    output, _, _ = lesion_run
    lines = lines_of(output / "metrics.json")
    iterations = [line["iteration"] for line in lines if "total_loss" in line]
    assert iterations[-1] >= 19 and iterations.count(9) == 1
    last = torch.load(output / "model_final.pth", weights_only=True)
    assert last["iteration"] == 19
    assert list(output.glob("events.out.tfevents.*"))


def test_best_value_survives_resuming(lesion_run):
    output, first, _ = lesion_run
    best = json.loads((output / "model_best.json").read_text())
    assert best["metric"] == "segm/AP50"
    assert best["value"] >= first["value"]


def test_results_hold_all_metrics_of_the_test_set(lesion_run, data):
    output, _, metrics = lesion_run
    saved = read_results(output / "results.json")
    assert saved["model"] == "lesion_R18_T1"  # the config's stem, whatever the folder
    assert set(saved["metrics"]) == {"lesion_merge_test"}
    tasks = saved["metrics"]["lesion_merge_test"]
    assert {"AP", "AP50"} <= set(tasks["bbox"]) and {"AP", "AP50"} <= set(tasks["segm"])
    assert tasks["per_image_ap"]["mAP"] == metrics["lesion_merge_test"]["per_image_ap"]["mAP"]
    truth = json.loads((data / "lesion_merge_test.json").read_text())
    bearing = {x["image_id"] for x in truth["annotations"]}
    silent = 1 - len(bearing) / len(truth["images"])
    assert tasks["per_image_ap"]["silent_detector"] == pytest.approx(silent)
    assert 0 < silent < 1
    assert saved["weights"].endswith("model_best.pth") and saved["versions"]["torch"]
    last = lines_of(output / "metrics.json")[-1]
    assert last["lesion_merge_test/per_image_ap/mAP"] == tasks["per_image_ap"]["mAP"]


def test_one_results_file_tells_all_of_a_test_set(lesion_run, data):
    folder = lesion_run[0] / "inference" / "lesion_merge_test"
    results = read_results(folder / "results.json")
    assert (results["kind"], results["model"]) == ("lesions", "lesion_R18_T1")
    assert results["weights_sha256"] == sha256_of(lesion_run[0] / "model_best.pth")
    assert results["dataset"]["name"] == "lesion_merge_test"
    assert results["dataset"]["source"] == str(data / "lesion_merge_test.json")
    assert results["settings"]["score_thresh"] == 0.75 and results["settings"]["min_area"] == 100
    assert results["training_seed"] == 1 and results["intervals"]["seed"] == 0
    assert results["seconds"]["training"] > 0 and results["seconds"]["prediction"] > 0
    assert results["machine"]["device"] == "cpu" and results["versions"]["ctmasknet"]
    everything = read_results(lesion_run[0] / "results.json")["metrics"]["lesion_merge_test"]
    assert not [name for task in everything.values() for name in task if "-" in name]
    assert results["metrics"] == everything
    assert {p.suffix for p in folder.iterdir()} >= {".png", ".csv", ".json"}

    # The same numbers again without the model.
    files = (folder / "ground_truth.json", [folder / "coco_instances_results.json"])
    settings = LesionReportSettings(**results["settings"])
    again = report_lesions(read_lesions(*files), folder / "again", settings, {})
    for key in ("metrics", "intervals"):
        assert again[key] == results[key]
    assert again["dataset"]["fingerprint"] == results["dataset"]["fingerprint"]


def test_ct_mask_net_from_the_lesion_checkpoint(lesion_run, data, train_net, tmp_path):
    lesion, _, _ = lesion_run
    weights = ["MODEL.WEIGHTS", str(lesion / "model_best.pth")]
    metrics = run(
        train_net,
        "ctmasknet_R18_T1",
        data,
        tmp_path / "train",
        *weights,
        *["SOLVER.MAX_ITER", "20", "TEST.EVAL_PERIOD", "10"],
    )
    log = (tmp_path / "train" / "log.txt").read_text()
    (row,) = [line.split() for line in log.splitlines() if line.startswith("image_head ")]
    assert row[:5] == ["image_head", "0", "0", "0", "6"]
    losses = {k for line in lines_of(tmp_path / "train/metrics.json") for k in line if "loss" in k}
    assert losses == {"total_loss"}  # as Detectron2 logs a single loss

    # BatchNorm statistics are those of the lesion model, its affine weights are not.
    before = torch.load(lesion / "model_best.pth", weights_only=True)["model"]
    after = torch.load(tmp_path / "train/model_final.pth", weights_only=True)["model"]
    moved = {k for k in after if k in before and not torch.equal(before[k], after[k])}
    assert moved and all(k.endswith(("norm.weight", "norm.bias")) for k in moved)

    best = str(tmp_path / "train/model_best.pth")
    run(
        train_net,
        "ctmasknet_R18_T1",
        data,
        tmp_path / "eval",
        *["MODEL.WEIGHTS", best],
        eval_only=True,
    )
    for file in ("results.json", "inference/test/results.json"):
        found = read_results(tmp_path / "eval" / file)["precision"]
        assert f"precision: {found} on cpu" in (tmp_path / "eval/log.txt").read_text()
    saved = read_results(tmp_path / "eval/results.json")["metrics"]
    assert saved == read_results(tmp_path / "train/results.json")["metrics"]
    assert 0 <= saved["test"]["image"]["accuracy"] <= 1
    results = read_results(tmp_path / "eval/inference/test/results.json")
    assert results["aggregation"]["chosen_on"] == "validation"
    validation = read_results(tmp_path / "train/inference/test/results.json")["calibration"]
    assert results["calibration"] == validation and validation["fitted_on"]["images"] == 6
    assert (tmp_path / "eval/inference/val/predictions.csv").is_file()
    assert not (tmp_path / "eval/inference/val/results.json").exists()  # it chooses only
    (line,) = lines_of(tmp_path / "eval/metrics.json")
    assert line["test/image/accuracy"] == metrics["test"]["image"]["accuracy"]
    assert (tmp_path / "eval/inference/test/predictions.csv").is_file()


def test_checkpoint_of_another_architecture_is_one_clear_line(
    lesion_run, data, monkeypatch, tmp_path, capsys
):
    lesion, _, _ = lesion_run
    command = ["tools/train_net.py", "--config-file", str(ROOT / "configs/lesion/R18_T1.yaml")]
    command += ["--eval-only", "OUTPUT_DIR", str(tmp_path), "MODEL.RESNETS.DEPTH", "34"]
    command += ["DATASETS.TEST", f"('{data / 'lesion_merge_test.json'}',)"]
    command += ["MODEL.WEIGHTS", str(lesion / "model_best.pth")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "tools" / "train_net.py"), run_name="__main__")
    (error,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("error"))
    assert stop.value.code == 2 and "another architecture" in error


def test_weights_made_with_other_anchors_are_refused(lesion_run, data, train_net, tmp_path):
    weights = ["MODEL.WEIGHTS", str(lesion_run[0] / "model_best.pth")]
    other = ["MODEL.ANCHOR_GENERATOR.NAME", "RoundedAnchorGenerator"]
    with pytest.raises(ValueError, match="NAME DefaultAnchorGenerator, the config says Rounded"):
        run(train_net, "lesion_R18_T1", data, tmp_path, *weights, *other, eval_only=True)


def test_missing_config_and_unknown_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.yaml: no such config file"):
        load_config("nowhere.yaml")
    with pytest.raises(ValueError, match="not registered.*phantom_lesion_merge_train"):
        load_config(
            str(ROOT / "configs/quick/lesion_R18_T1.yaml"),
            ["DATASETS.TRAIN", "('phantom_lesion_merge_trian',)"],
        )


def test_unknown_key_and_data_of_the_wrong_kind(data):
    config = str(ROOT / "configs/quick/lesion_R18_T1.yaml")
    with pytest.raises(ValueError, match="SOLVER.SPEED"):
        load_config(config, ["SOLVER.SPEED", "9"])
    with pytest.raises(ValueError, match=r"DATASETS.TRAIN: train is an image list \(.csv\), but"):
        load_config(config, ["DATASETS.TRAIN", f"('{data / 'train.csv'}',)"])


def test_other_classes_than_the_models(data, train_net, tmp_path):
    two = json.loads((data / "lesion_merge_train.json").read_text())
    two["categories"].append({"id": 2, "name": "scar"})
    file = data / "lesion_two_classes.json"  # file names in it are relative to its folder
    file.write_text(json.dumps(two))
    opts = ["DATASETS.TRAIN", f"('{file}',)", "INPUT.MASK_TYPE"]
    with pytest.raises(ValueError, match=r"2 classes \(lesion, scar\), but .*NUM_CLASSES is 1"):
        run(train_net, "lesion_R18_T1", data, tmp_path, *opts, "")
    with pytest.raises(ValueError, match=r"two_classes\.json: mask type 'cyst' asks for .*scar"):
        run(train_net, "lesion_R18_T1", data, tmp_path, *opts, "cyst")


def test_a_test_set_that_cannot_be_reported_stops_before_training(data, train_net, tmp_path):
    broken = json.loads((data / "lesion_merge_test.json").read_text())
    broken["annotations"][0]["iscrowd"] = 2
    file = data / "broken_lesions.json"
    file.write_text(json.dumps(broken))
    with pytest.raises(ValueError, match=r"broken_lesions.*iscrowd is 2, expected 0 or 1"):
        run(train_net, "lesion_R18_T1", data, tmp_path, "DATASETS.TEST", f"('{file}',)")
    assert not (tmp_path / "log.txt").exists()


def test_nothing_to_train_on(data, train_net, tmp_path):
    empty = json.loads((data / "lesion_merge_train.json").read_text()) | {"annotations": []}
    file = data / "lesion_free.json"
    file.write_text(json.dumps(empty))
    with pytest.raises(
        ValueError, match=r"TRAIN: lesion_free.* has no lesions of .*ANNOTATIONS False"
    ):
        run(train_net, "lesion_R18_T1", data, tmp_path, "DATASETS.TRAIN", f"('{file}',)")


def test_ct_mask_net_is_never_trained_from_scratch(data, train_net, tmp_path):
    with pytest.raises(ValueError, match="MODEL.WEIGHTS is empty: CT-Mask-Net starts from"):
        run(train_net, "ctmasknet_R18_T1", data, tmp_path, "MODEL.WEIGHTS", "")


def test_unknown_best_metric_names_the_valid_ones(data, train_net, tmp_path):
    opts = ["TEST.BEST_METRIC", "segm/AP51", "SOLVER.MAX_ITER", "1"]
    with pytest.raises(ValueError, match="'segm/AP51'; valid are .*segm/AP50"):
        run(train_net, "lesion_R18_T1", data, tmp_path, *opts)


def test_a_new_run_in_a_used_folder_forgets_the_old_best(lesion_run, data, train_net, tmp_path):
    shutil.copytree(lesion_run[0], tmp_path, dirs_exist_ok=True)
    none = ["DATASETS.VALIDATION", "()", "SOLVER.MAX_ITER", "1"]
    run(train_net, "lesion_R18_T1", data, tmp_path, *none)
    assert read_results(tmp_path / "results.json")["weights"].endswith("model_final.pth")


def test_resuming_with_another_model_is_refused(lesion_run, data, train_net):
    with pytest.raises(ValueError, match="another architecture"):
        opts = ["MODEL.ROI_BOX_HEAD.FC_DIM", "64"]
        run(train_net, "lesion_R18_T1", data, lesion_run[0], *opts, resume=True)


def test_saved_config_can_be_used_again(lesion_run, data):
    cfg = load_config(str(lesion_run[0] / "config.yaml"))
    assert cfg.DATASETS.TRAIN == ("lesion_merge_train",)
    assert cfg.MODEL.NAME == "lesion_R18_T1" and cfg.OUTPUT_DIR == str(lesion_run[0])
    saved = (lesion_run[0] / "config.yaml").read_text()
    assert str(data / "lesion_merge_train.json") in saved
    without = load_config(
        str(lesion_run[0] / "config.yaml"), ["DATASETS.TEST", "('none.json',)"], datasets=False
    )
    assert without.DATASETS.TEST == ()


def test_a_16_bit_slice_stops_training_with_one_line(data, monkeypatch, tmp_path, capsys):
    Image.fromarray(np.zeros((96, 96), np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "bad.csv").write_text("file,label,patient,scan\ndeep.png,0,P,S\n")
    command = ["tools/train_net.py", "--config-file"]
    command += [str(ROOT / "configs/quick/ctmasknet_R18_T1.yaml"), "OUTPUT_DIR", str(tmp_path)]
    command += [*itertools.chain(*(SMALL | {"DATALOADER.NUM_WORKERS": "1"}).items())]
    command += ["DATASETS.TRAIN", f"('{tmp_path / 'bad.csv'}',)", "MODEL.WEIGHTS", ""]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "tools" / "train_net.py"), run_name="__main__")
    (error,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("error"))
    assert stop.value.code == 2
    assert error.startswith(f"error: {tmp_path / 'deep.png'}: found a 16-bit image")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.csv", "deep.png"]


def test_nan_becomes_null_in_results(tmp_path):
    write_results(tmp_path / "r.json", {"d": {"t": {"a": math.nan, "b": 0.5}}})
    assert read_results(tmp_path / "r.json")["metrics"]["d"]["t"] == {"a": None, "b": 0.5}
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_float16_is_trained_with_scaled_losses():
    opts = ["MODEL.DEVICE", "meta", "MODEL.PRECISION", "float16"]  # a CPU has no float16
    with pytest.raises(ValueError, match="float16 trains with SOLVER.AMP.ENABLED True"):
        Trainer.build_model(tiny_cfg("lesion", *opts))
    with torch.device("meta"):
        model = Trainer.build_model(tiny_cfg("lesion", *opts, "SOLVER.AMP.ENABLED", True))
    assert model.precision == torch.float16


def test_eval_only_without_a_data_set_is_an_error():
    cfg = load_config(str(ROOT / "configs/lesion/R18_T1.yaml"))
    with pytest.raises(ValueError, match="DATASETS.TEST is empty"):
        Trainer.evaluate_checkpoint(cfg)
