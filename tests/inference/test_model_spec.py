"""Models by the names that users give them."""

import pytest
import torch
from tiny_models import tiny_cfg, tiny_model

from ctmasknet.checkpoint.settings import settings_of
from ctmasknet.inference import model_spec as models
from ctmasknet.inference.model_spec import demo_folders, find_model

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


def test_the_folder_of_a_run(runs):
    found = find_model(runs.lesion)
    assert (found.name, found.weights) == ("tiny_lesion", str(runs.lesion / "model_best.pth"))
    assert found.config == str(runs.lesion / "config.yaml")
    assert found.trained_on == "phantom_train" and found.cfg.INPUT.MIN_SIZE_TEST == 64


def test_the_last_checkpoint_where_there_is_no_best_one(runs, tmp_path):
    for name, copy in (("config.yaml", "config.yaml"), ("model_best.pth", "model_final.pth")):
        (tmp_path / copy).write_bytes((runs.lesion / name).read_bytes())
    assert find_model(tmp_path).weights == str(tmp_path / "model_final.pth")
    assert find_model(tmp_path / "config.yaml").weights == str(tmp_path / "model_final.pth")


def test_a_shipped_config_by_its_name(runs):
    found = find_model("R18_T1", runs.lesion / "model_best.pth", ("INPUT.MIN_SIZE_TEST", "64"))
    assert found.config.endswith("configs/lesion/R18_T1.yaml")
    assert found.cfg.INPUT.MIN_SIZE_TEST == 64


def test_a_config(runs):
    found = find_model(tiny_cfg("lesion"), runs.lesion / "model_best.pth")
    assert found.config == "" and found.cfg.MODEL.RANKED_BOXES.NUM == 16


def test_what_a_checkpoint_says_of_its_training_wins(runs, tmp_path):
    content = torch.load(runs.lesion / "model_best.pth")
    content["settings"] = {"DATASETS.TRAIN": "cncb_lesion_train"}
    torch.save(content, tmp_path / "real.pth")
    found = find_model(runs.lesion, tmp_path / "real.pth")
    assert found.trained_on == "cncb_lesion_train" and found.describe()["phantom"] is False


def test_a_shipped_config_does_not_tell_what_weights_have_seen(runs, tmp_path):
    (tmp_path / "bare.pth").write_bytes((runs.lesion / "model_best.pth").read_bytes())
    found = find_model("lesion_R18_T1", tmp_path / "bare.pth")  # whose config says phantoms
    assert found.trained_on == ""
    assert found.describe()["trained_on"] == "not recorded"


@pytest.mark.parametrize(
    ("opts", "names"),
    [
        (("INPUT.MASK_TYPE", "both"), ("GGO", "C")),  # as runs of before have it
        (("INPUT.MASK_TYPE", "opacity=GGO+C,effusion"), ("opacity", "effusion")),
        (("DATASETS.LESION_CLASSES", ("nodule", "effusion")), ("nodule", "effusion")),
        ((), ("class_1", "class_2")),  # never GGO and C by their number
    ],
)
def test_lesion_classes_of_a_config_with_weights_that_do_not_tell(runs, opts, names):
    cfg = tiny_cfg("lesion", "MODEL.ROI_HEADS.NUM_CLASSES", 2, "INPUT.MASK_TYPE", "", *opts)
    assert find_model(cfg, runs.lesion / "model_best.pth").lesion_classes == names


def test_lesion_classes_of_a_checkpoint_win_over_the_mask_type(runs, tmp_path):
    content = torch.load(runs.lesion / "model_best.pth")
    content["settings"] = {"DATASETS.LESION_CLASSES": "pleural effusion"}
    torch.save(content, tmp_path / "own.pth")
    assert find_model(runs.lesion, tmp_path / "own.pth").lesion_classes == ("pleural effusion",)
    classifier = find_model(runs.ctmasknet, runs.ctmasknet / "model_best.pth")
    assert classifier.lesion_classes == ("lesion",)
    with pytest.raises(ValueError, match="classes pleural effusion, in this .* they are nodule"):
        opts = ("DATASETS.LESION_CLASSES", "('nodule',)")
        find_model(runs.lesion, tmp_path / "own.pth", opts)


def test_a_classifier_is_not_asked_what_masks_mean(runs):
    two = ("MODEL.ROI_HEADS.NUM_CLASSES", 2)  # with INPUT.MASK_TYPE merge
    found = find_model(tiny_cfg("ctmasknet", *two), runs.ctmasknet / "model_best.pth")
    assert found.lesion_classes == ("class_1", "class_2")
    both = tiny_cfg("ctmasknet", *two, "INPUT.MASK_TYPE", "both")  # which it has never read
    found = find_model(both, runs.ctmasknet / "model_best.pth")
    assert found.lesion_classes == ("class_1", "class_2")
    with pytest.raises(ValueError, match=r"is 'merge' with 1 class \(lesion\), but .* 2"):
        find_model(tiny_cfg("lesion", *two), runs.lesion / "model_best.pth")


def test_image_classes_of_a_checkpoint_and_never_a_guess(runs, tmp_path):
    weights, cfg = tmp_path / "own.pth", tiny_cfg("ctmasknet")
    content = torch.load(runs.ctmasknet / "model_best.pth")
    torch.save(content, weights)
    assert find_model(cfg, weights).image_classes == ("class 0", "class 1", "class 2")
    assert find_model(runs.ctmasknet, weights).image_classes[2] == "COVID-19"
    own = ("well", "ill, a little", "grave")
    content["settings"] = settings_of(tiny_model("ctmasknet"), image_classes=own)
    torch.save(content, weights)
    assert find_model(cfg, weights).image_classes == own
    with pytest.raises(ValueError, match="image classes well, ill, a .* here they are Control"):
        find_model(runs.ctmasknet, weights)


def test_a_config_of_another_program_beside_the_weights(runs, tmp_path):
    (tmp_path / "bare.pth").write_bytes((runs.lesion / "model_best.pth").read_bytes())
    (tmp_path / "config.yaml").write_text("epochs: 3\n")
    assert find_model("R18_T1", tmp_path / "bare.pth").trained_on == ""


def test_configs_that_predict_otherwise_are_told_apart(runs):
    def config_hash(*opts):
        return find_model(runs.lesion, opts=opts).describe()["config_sha256"]

    assert config_hash() == config_hash("OUTPUT_DIR", "elsewhere", "MODEL.WEIGHTS", "x.pth")
    assert config_hash() == config_hash("MODEL.FAST", "False")
    assert config_hash() != config_hash("INPUT.MIN_SIZE_TEST", "128")


@pytest.mark.parametrize(
    "name, weights, error, message",
    [
        ("R18_T11", "x.pth", FileNotFoundError, "did you mean R18_T1"),
        ("nothing-like-it", "x.pth", FileNotFoundError, "no such config file or model"),
        ("R18_T1", None, ValueError, "R18_T1: no weights"),
        ("there/is/none.yaml", "x.pth", FileNotFoundError, "no such config file"),
        ("R18_T1", "none.pth", FileNotFoundError, "none.pth: no such checkpoint"),
    ],
)
def test_models_that_are_not_there(name, weights, error, message):
    with pytest.raises(error, match=message):
        find_model(name, weights)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no config.yaml"):
        find_model(tmp_path, "x.pth")


def test_the_demo(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "CHECKOUT", tmp_path / "checkout")
    places = f"{tmp_path}/output/demo and {tmp_path}/checkout/output/demo: the demo's models"
    with pytest.raises(FileNotFoundError, match=f"{places} are not there; run `ctmasknet demo`"):
        demo_folders()
    demo = tmp_path / "output" / "demo"
    for name in ("ctmasknet_R18_T1", "lesion_R18_T1"):
        (demo / name).mkdir(parents=True)
        (demo / name / "model_best.pth").write_bytes(b"")
    assert demo_folders() == (demo / "ctmasknet_R18_T1", demo / "lesion_R18_T1")


def test_weights_alone_are_no_model(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"model\.pth: weights without their config: .*--weights"):
        find_model(tmp_path / "model.pth")
