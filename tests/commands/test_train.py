"""`ctmasknet train` and `evaluate` on data of one's own: plain paths, classes, and errors."""

import json

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.engine import default_argument_parser
from PIL import Image

from ctmasknet.commands import evaluate as evaluate_command
from ctmasknet.commands import train as train_command
from ctmasknet.data.phantom import write_phantom
from ctmasknet.engine import load_config
from ctmasknet.shipped_configs import find_config

SMALL = (
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64", "SOLVER.MAX_ITER", "2"),
    *("SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0", "TEST.EVAL_PERIOD", "2"),
    *("MODEL.RPN.POST_NMS_TOPK_TRAIN", "60", "MODEL.RPN.POST_NMS_TOPK_TEST", "30"),
    *("MODEL.RANKED_BOXES.NUM", "8", "MODEL.IMAGE_HEAD.FC_DIM", "8"),
    *("TEST.DETECTIONS_PER_IMAGE", "10", "TEST.BOOTSTRAP_RESAMPLES", "20"),
)


def write_lesions(path, names, slices=4):
    """A COCO file of grey slices with a lesion of each class."""
    images, annotations = [], []
    for number in range(1, slices + 1):
        file = f"{path.stem}_{number}.png"
        Image.fromarray(np.full((64, 64), 20 * number, np.uint8)).save(path.with_name(file))
        images.append({"id": number, "file_name": file, "height": 64, "width": 64})
        for category in range(1, len(names) + 1):
            mask = np.zeros((64, 64), np.uint8, order="F")
            mask[10:30, 25 * category - 20 :][:, :20] = 1
            rle = mask_util.encode(mask)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": category}
                | {"bbox": [25 * category - 20, 10, 20, 20], "area": 400, "iscrowd": 0}
                | {"segmentation": {**rle, "counts": rle["counts"].decode()}}
            )
    categories = [{"id": k, "name": name} for k, name in enumerate(names, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def parsed(monkeypatch, command):
    """The arguments with which `ctmasknet train` or `evaluate` would run, and its error."""
    started = []
    for module in (train_command, evaluate_command):
        monkeypatch.setattr(module, "run_processes", lambda _, args: started.append(args))

    def run(*arguments):
        _, _, error = command(*arguments)
        return (started.pop() if started else None), error

    return run


def pairs(args):
    return dict(zip(args.opts[::2], args.opts[1::2], strict=True))


def test_paths_without_quotes_and_overrides_anywhere(parsed, tmp_path):
    file = write_lesions(tmp_path / "paths.json", ["lesion"])
    args, _ = parsed(
        *("train", "quick/lesion_R18_T1", "--train", file, "--train", "more.json"),
        *("SOLVER.MAX_ITER", 9, "--output", tmp_path / "1", "SOLVER.BASE_LR", "-1"),
    )
    assert args.config_file == "quick/lesion_R18_T1"
    assert pairs(args) == {
        "DATASETS.TRAIN": (str(file), "more.json"),
        "DATASETS.VALIDATION": (),  # not the config's own
        "DATASETS.TEST": (),
        "OUTPUT_DIR": repr(str(tmp_path / "1")),
        "SOLVER.MAX_ITER": "9",
        "SOLVER.BASE_LR": "-1",
    }
    args, _ = parsed("train", "R18_T1", "SOLVER.MAX_ITER", 9)
    assert (args.config_file, args.opts) == ("R18_T1", ["SOLVER.MAX_ITER", "9"])


def test_classes_of_the_data_unless_they_are_given(parsed, tmp_path):
    own = write_lesions(tmp_path / "fitted.json", ["nodule", "effusion"])
    args, _ = parsed("train", "R18_T1", "--train", own)
    assert pairs(args) | {"MODEL.ROI_HEADS.NUM_CLASSES": 2, "INPUT.MASK_TYPE": ""} == pairs(args)
    assert args.notes == [
        f"lesion classes of {own}: nodule, effusion",
        "so unless they are given: MODEL.ROI_HEADS.NUM_CLASSES 2, INPUT.MASK_TYPE ''",
    ]
    args, _ = parsed("train", "R18_T1", "--train", own, "INPUT.MASK_TYPE", "lesion=*")
    assert pairs(args)["MODEL.ROI_HEADS.NUM_CLASSES"] == 1
    assert pairs(args)["INPUT.MASK_TYPE"] == "lesion=*"
    args, _ = parsed("train", "R18_T1", "--train", own, "MODEL.ROI_HEADS.NUM_CLASSES", 3)
    assert pairs(args)["MODEL.ROI_HEADS.NUM_CLASSES"] == "3"
    both = write_lesions(tmp_path / "papers.json", ["GGO", "C"])
    args, _ = parsed("train", "R18_T1", "--train", both)
    assert "INPUT.MASK_TYPE" not in pairs(args)  # the config's own, as the papers merge them
    (tmp_path / "fitted.csv").write_text("file,label,patient,scan\na.png,ill,a,a\nb.png,well,b,b\n")
    args, _ = parsed("train", "R18_T1_heads_BN", "--train", tmp_path / "fitted.csv")
    assert pairs(args)["MODEL.IMAGE_HEAD.NUM_CLASSES"] == 2


def test_a_users_own_config_stays_as_it_is(parsed, tmp_path):
    data = write_lesions(tmp_path / "mixed.json", ["GGO", "C", "effusion"])
    (tmp_path / "base.yaml").write_text(
        f"_BASE_: {find_config('R18_T1')}\nINPUT: {{MASK_TYPE: 'opacity=GGO+C,effusion'}}\n"
    )
    (tmp_path / "own.yaml").write_text("_BASE_: base.yaml\nSOLVER: {MAX_ITER: 9}\n")
    args, _ = parsed("train", tmp_path / "own.yaml", "--train", data)
    fitted = {"MODEL.ROI_HEADS.NUM_CLASSES": 2}
    assert pairs(args) | fitted == pairs(args) and "INPUT.MASK_TYPE" not in pairs(args)
    saved = load_config("R18_T1", ("INPUT.MASK_TYPE", "GGO"), datasets=False)
    (tmp_path / "saved.yaml").write_text(saved.dump())  # as a run does
    args, _ = parsed("train", tmp_path / "saved.yaml", "--train", data)
    assert not {"MODEL.ROI_HEADS.NUM_CLASSES", "INPUT.MASK_TYPE"} & set(pairs(args))
    (tmp_path / "short.yaml").write_text(f"_BASE_: {find_config('R18_T1')}\n")
    args, _ = parsed("train", tmp_path / "short.yaml", "--train", data)
    fitted = {"MODEL.ROI_HEADS.NUM_CLASSES": 3, "INPUT.MASK_TYPE": ""}
    assert pairs(args) | fitted == pairs(args)


def test_image_classes_that_are_given_are_counted(parsed, tmp_path):
    data = tmp_path / "numbers.csv"  # of three classes it has two, by numbers
    data.write_text("file,label,patient,scan\na.png,0,a,a\nb.png,4,b,b\n")
    (tmp_path / "own.yaml").write_text(
        f"_BASE_: {find_config('R18_T1_heads_BN')}\nDATASETS: {{IMAGE_CLASSES: [a, b, c, d, e]}}"
    )
    args, error = parsed("train", tmp_path / "own.yaml", "--train", data)
    assert args, error
    assert pairs(args)["MODEL.IMAGE_HEAD.NUM_CLASSES"] == 5
    args, _ = parsed(
        "train", "R18_T1_heads", "--train", data, "DATASETS.IMAGE_CLASSES", "('a','b')"
    )
    assert pairs(args)["MODEL.IMAGE_HEAD.NUM_CLASSES"] == 2


@pytest.mark.parametrize("text", ["- a", "MODEL: ["])
def test_a_config_that_is_none(parsed, tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    args, error = parsed("train", tmp_path / "bad.yaml")
    assert args is None and error.startswith(f"error: {tmp_path / 'bad.yaml'}: ")
    assert error.count("\n") == 1


def test_weights_of_a_run_with_two_lesion_classes(parsed, tmp_path):
    weights = {"roi_heads.box_predictor.cls_score.weight": torch.zeros(3, 4)}
    torch.save({"model": weights}, tmp_path / "model_final.pth")
    (tmp_path / "own.csv").write_text("file,label,patient,scan\na.png,0,a,a\n")
    args, _ = parsed(
        "train", "R18_T1_heads", "--weights", tmp_path, "--train", tmp_path / "own.csv"
    )
    assert pairs(args)["MODEL.WEIGHTS"] == repr(str(tmp_path / "model_final.pth"))
    assert pairs(args)["MODEL.ROI_HEADS.NUM_CLASSES"] == 2
    assert pairs(args)["MODEL.IMAGE_HEAD.NUM_CLASSES"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "no CONFIG: name a shipped config"),
        (
            ["train", "R18_T1", "--train", "a.json", "b.json"],
            "b.json: not a KEY of the config, as SOLVER.MAX_ITER; for several files give --train,",
        ),
        (["train", "R18_T1", "SOLVER.MAX_ITER"], "SOLVER.MAX_ITER: has no VALUE; write KEY VALUE"),
        (["train", "R18_T1", "SOLVER.MAX_ITER", "9", "x", "y"], "x: not a KEY of the config"),
        (
            ["evaluate", "--model", "R18_T1", "--dataset", "a.json", "b.json", "--output", "x"],
            "b.json: not a KEY of the config, as SOLVER.MAX_ITER",
        ),
        (["train", "R18_T1", "--test", "a.json"], "--train is missing: with --validation or"),
        (["train", "R18_T1", "--weights", "{here}"], "{here}: holds no checkpoint of a training"),
        (["evaluate", "--output", "x"], "one of the arguments --model --predictions is required"),
        (["evaluate", "--model", "R18_T1", "--output", "x"], "--dataset is missing: name the data"),
        (
            ["evaluate", "--model", "R18_T11", "--dataset", "a.json", "--output", "x"],
            "R18_T11: no such config file or model; did you mean R18_T1 or",
        ),
        (
            ["evaluate", "--model", "R18_T1", "--dataset", "a.json", "--output", "x"],
            "R18_T1: no weights; name a checkpoint (--weights), or as a model",
        ),
        (
            ["evaluate", "--model", "R18", "--dataset", "a.json", "--output", "x", "--rule", "max"],
            "--rule: goes with --predictions; with --model give TEST.AGGREGATION VALUE",
        ),
        (
            ["evaluate", "--model", "R18", "--dataset", "a.json", "--output", "{here}/old"],
            "{here}/old: holds the models of a run; name another --output",
        ),
        (
            ["evaluate", "--model", "R18", "--dataset", "a.json", "--validation", "a.csv"]
            + ["--output", "x"],
            "--validation: is for image classes",
        ),
    ],
)
def test_what_cannot_start(parsed, tmp_path, arguments, message):
    (tmp_path / "old").mkdir()
    (tmp_path / "old/model_final.pth").write_bytes(b"")
    args, error = parsed(*(x.format(here=tmp_path) for x in arguments))
    assert args is None and f"error: {message.format(here=tmp_path)}" in error


def test_a_config_that_is_not_there(command):
    code, _, error = command("train", "quick/lesion_R18_T2")
    assert code == 2 and "did you mean quick/lesion_R18_T1" in error


@pytest.mark.slow
def test_a_model_of_ones_own_classes_by_one_command(command, tmp_path):
    names = ["nodule", "effusion"]
    files = [write_lesions(tmp_path / f"own_{part}.json", names) for part in ("train", "val")]
    output = tmp_path / "run"
    code, _, error = command(
        *("train", "quick/lesion_R18_T1", "--train", files[0], "--validation", files[1]),
        *("--test", files[1], "--output", output, *SMALL),
    )
    assert code == 0, error
    assert "lesion classes of" in (output / "log.txt").read_text()
    cfg = load_config(str(output / "config.yaml"), datasets=False)
    assert (cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.INPUT.MASK_TYPE) == (2, "")
    metrics = json.loads((output / "results.json").read_text())["metrics"]["own_val"]
    assert {"dice_nodule", "dice_effusion"} <= set(metrics["pixel"])


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "evaluated"
    write_phantom(root, patients=9, slices=2, size=96, split=(1, 1, 1))
    for split in ("val", "test"):  # stems of their own: other tests register paths, too
        (root / f"{split}.csv").rename(root / f"evaluated_{split}.csv")
        (root / f"lesion_merge_{split}.json").rename(root / f"evaluated_lesions_{split}.json")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lesion", "ctmasknet"])
def test_a_model_is_evaluated_as_by_train_net(command, runs, phantom, tmp_path, kind):
    lesion = kind == "lesion"
    model = getattr(runs, kind)
    test, val = (
        phantom / (f"evaluated_lesions_{split}.json" if lesion else f"evaluated_{split}.csv")
        for split in ("test", "val")
    )
    sets = [] if lesion else ["--validation", val]
    few = ("TEST.BOOTSTRAP_RESAMPLES", 20)
    out = tmp_path / "a"
    code, printed, error = command(
        "evaluate", "--model", model, "--dataset", test, *sets, "--output", out, *few
    )
    assert code == 0, error
    assert f"results.json is in {out}" in printed
    opts = ("MODEL.WEIGHTS", model / "model_best.pth", "OUTPUT_DIR", tmp_path / "b", *few)
    opts += ("DATASETS.TRAIN", "()", "DATASETS.TEST", f"('{test}',)")
    opts += ("DATASETS.VALIDATION", "()" if lesion else f"('{val}',)")
    line = ("--config-file", model / "config.yaml", "--eval-only", *opts)
    train_command.train(default_argument_parser().parse_args([*map(str, line)]))
    first, second = (
        json.loads((tmp_path / x / "inference" / test.stem / "results.json").read_text())
        for x in "ab"
    )
    for key in ("metrics", "intervals", "settings", "aggregation", "calibration"):
        assert first.get(key) == second.get(key)
    assert first["weights_sha256"] and first["metrics"]
