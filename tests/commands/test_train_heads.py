"""Image heads and baselines through `ctmasknet train`, on phantoms of a few slices."""

import json

import pytest
import torch
from detectron2.modeling import build_model
from tiny_models import tiny_model

from ctmasknet.checkpoint import load_weights
from ctmasknet.data.phantom import write_phantom
from ctmasknet.engine import load_config

# Whole networks, commands and data sets; what a test registers is forgotten.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_data_sets")]

HEADS = ["R18_T1_pooled", "R18_T1_attention", "R18_T1_set", "R18_T1_attention_global"]
PIXELS = ["ResNet18", "MobileNetV3", "IntensityHistogram"]
QUANTITIES = "R18_T1_quantities"
SMALL = (
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64", "SOLVER.MAX_ITER", "2"),
    *("SOLVER.IMS_PER_BATCH", "4", "DATALOADER.NUM_WORKERS", "0", "TEST.EVAL_PERIOD", "2"),
    *("SOLVER.CHECKPOINT_PERIOD", "10", "MODEL.RPN.POST_NMS_TOPK_TEST", "30"),
    *("MODEL.RANKED_BOXES.NUM", "8", "TEST.BOOTSTRAP_RESAMPLES", "20"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms")
    write_phantom(root, patients=9, slices=2, size=96, split=(1, 1, 1))
    torch.save({"model": tiny_model("lesion").state_dict()}, root / "lesion.pth")
    return root


def a_slice(data):
    return next(data.glob("image/*/*.png"))


@pytest.fixture(scope="module")
def train(data, tmp_path_factory):
    """Train a config once; returns its folder."""
    folders = {}

    def run(command, name):
        if name not in folders:
            folder = tmp_path_factory.mktemp(name) / "run"
            lists = ["--train", data / "train.csv", "--validation", data / "val.csv"]
            lists += ["--test", data / "test.csv"]
            weights = () if name in PIXELS else ("--weights", data / "lesion.pth")
            code, _, error = command("train", name, *lists, *weights, "--output", folder, *SMALL)
            assert code == 0, error
            folders[name] = folder
        return folders[name]

    return run


@pytest.mark.parametrize("name", [*HEADS, QUANTITIES, *PIXELS])
def test_it_is_trained_and_reported(command, train, name):
    folder = train(command, name)
    metrics = json.loads((folder / "results.json").read_text())["metrics"]["test"]
    assert {"image", "scan", "patient"} <= set(metrics)
    assert 0 <= metrics["image"]["accuracy"] <= 1
    found = json.loads((folder / "inference/test/results.json").read_text())
    assert found["calibration"]["fitted_on"]["images"] == 6  # of validation
    kept = (folder / "ranked_boxes").exists()
    assert kept == (name == QUANTITIES)  # which alone trains the head and nothing else


def test_one_shot_learns_from_masks_and_labels(command, data, tmp_path):
    folder, config = tmp_path / "run", "R18_T1_one_shot"
    words = ("--weights", data / "lesion.pth", "--output", folder, *SMALL)
    lists = ("--train", data / "train.csv", "--validation", data / "val.csv")
    code, _, error = command("train", config, *lists, *words)
    assert code == 2 and "MODEL.TRAINABLE one-shot needs an image list (.csv) and a les" in error
    masks = ("--train", data / "lesion_merge_train.json")
    one = ("SOLVER.IMS_PER_BATCH", 1)
    code, _, error = command("train", config, *lists, *masks, *words[:-2], *words[-2:], *one)
    assert code == 2 and "one-shot training wants 2 or more" in error
    tests = ("--test", data / "test.csv", "--test", data / "lesion_merge_test.json")
    code, _, error = command("train", config, *lists, *masks, *tests, *words)
    assert code == 0, error
    lines = [json.loads(x) for x in (folder / "metrics.json").read_text().splitlines()]
    losses = {key for line in lines for key in line}
    assert {"loss_image", "loss_mask", "loss_rpn_cls", "loss_box_reg"} <= losses
    metrics = json.loads((folder / "results.json").read_text())["metrics"]
    assert "accuracy" in metrics["test"]["image"]
    assert "AP50" in metrics["lesion_merge_test"]["segm"]
    code, _, error = command(
        *("predict", a_slice(data), "--model", folder, "--output", tmp_path / "out"),
    )
    assert code == 0, error  # classes and masks of one network
    (result,) = (tmp_path / "out").rglob("result.json")
    assert "probabilities" in result.read_text()


@pytest.mark.parametrize(
    ("name", "other", "message"),
    [
        ("R18_T1_pooled", "R18_T1_attention", "IMAGE_HEAD.NAME PooledBoxHead, the config says Att"),
        ("R18_T1_attention", "R18_T1_attention_global", "GLOBAL_FEATURES False, the config says T"),
        ("R18_T1_attention", "R18_T1_heads_BN", "ENCODING image, the config says deltas"),
        ("ResNet18", "MobileNetV3", "META_ARCHITECTURE ImageResNet, the config says ImageMobile"),
        ("ResNet18", "ResNet34", "a checkpoint of another architecture: no value for"),
        ("ResNet18", "R18_T1_heads_BN", "a checkpoint of another architecture"),
        ("R18_T1_pooled", "ResNet18", "a checkpoint of another architecture"),
        ("IntensityHistogram", "IntensityHistogram", "3 image classes, the config 2"),
    ],
)
def test_weights_of_another_model_are_refused(command, train, name, other, message):
    weights = train(command, name) / "model_final.pth"
    same = ("MODEL.IMAGE_HEAD.NUM_CLASSES", 2) if name == other else ()
    model = build_model(load_config(other, ("MODEL.DEVICE", "cpu", *same), datasets=False))
    with pytest.raises(ValueError, match=message):
        load_weights(model, weights)


def test_a_head_with_attention_says_why(command, train, data, tmp_path):
    folder = train(command, "R18_T1_attention_global")
    code, _, error = command(
        *("predict", a_slice(data), "--model", folder, "--output", tmp_path / "out"),
        *("--device", "cpu"),
    )
    assert code == 0, error
    (table,) = (tmp_path / "out").rglob("ranked_boxes.csv")
    columns = table.read_text().splitlines()[0].split(",")
    assert columns[-1] == "attention" and "contribution_COVID-19" in columns
    (page,) = (tmp_path / "out").rglob("report.html")
    assert "The classifier reads the whole image, too" in page.read_text()


def test_a_baseline_predicts_beside_a_lesion_model_and_not_alone(command, train, data, tmp_path):
    folder = train(command, "ResNet18")
    words = ("predict", a_slice(data), "--model", folder, "--output", tmp_path / "out")
    code, _, error = command(*words)
    assert code == 2 and "ResNet18: classifies images and finds no lesions; name a les" in error
    assert not (tmp_path / "out").exists()
    lesions = ("--lesion-model", "R18_T1", "--lesion-weights", data / "lesion.pth")
    code, _, error = command(*words, *lesions)
    assert code == 0, error
    (result,) = (tmp_path / "out").rglob("result.json")
    assert "probabilities" in result.read_text()
    assert not list((tmp_path / "out").rglob("ranked_boxes.csv"))
    code, _, error = command("pack", folder, tmp_path / "own.safetensors")
    assert code == 0, error
    assert ": ImageResNet (" in command("info", tmp_path / "own.safetensors")[1]
