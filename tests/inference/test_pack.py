"""Models in single files: packed, found by path and name, and the same predictions from them."""

import numpy as np
import pytest
import torch
from tiny_models import tiny_cfg, tiny_model

from ctmasknet import shipped_models
from ctmasknet.checkpoint.model_file import read_metadata, write_model_file
from ctmasknet.checkpoint.settings import settings_of
from ctmasknet.data.classes import IMAGE_CLASSES
from ctmasknet.data.window import LUNG, Window
from ctmasknet.inference import Predictor
from ctmasknet.inference.model_spec import find_model
from ctmasknet.inference.pack import pack_model
from ctmasknet.volumes.volume_files import read_volume

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


@pytest.fixture
def packed(runs, tmp_path):
    """Pack the run of a kind, with options of `pack_model`; returns the file."""

    def pack(kind="lesion", file="own.safetensors", **options):
        path = tmp_path / file
        options = {"name": "own", "window": LUNG} | options
        pack_model(find_model(getattr(runs, kind)), path, **options)
        return path

    return pack


@pytest.fixture
def shipped(packed, tmp_path, monkeypatch):
    """A model in the package, called medseg; the current directory is empty."""
    monkeypatch.setattr(shipped_models, "MODELS", tmp_path / "models")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return packed(file="models/medseg.safetensors", name="medseg")


@pytest.mark.parametrize("kind", ["lesion", "ctmasknet"])
def test_a_file_is_the_model_of_the_folder(runs, packed, kind):
    folder = find_model(getattr(runs, kind))
    file = packed(kind)
    found = find_model(file)
    assert (found.name, found.config, found.weights) == ("own", str(file), str(file))
    assert found.lesion_classes == folder.lesion_classes == ("lesion",)
    assert found.image_classes == folder.image_classes
    assert found.trained_on == "phantom_train" and found.describe()["phantom"] is True
    assert (folder.window, found.window) == ("1500,-600", "1500,-600")
    assert found.cfg.INPUT.MIN_SIZE_TEST == 64 and found.cfg.MODEL.RANKED_BOXES.NUM == 16
    opts = ("TEST.PIXEL_SCORE_THRESH", "0.9")
    assert find_model(file, opts=opts).cfg.TEST.PIXEL_SCORE_THRESH == 0.9
    with pytest.raises(ValueError, match="own.safetensors: a whole model; it takes no other weig"):
        find_model(file, folder.weights)


@pytest.mark.parametrize("kind", ["lesion", "ctmasknet"])
def test_predictions_are_those_of_the_folder_but_for_float16(runs, packed, kind):
    image = np.random.default_rng(0).integers(0, 256, (80, 100), dtype=np.uint8)
    models = packed(kind), getattr(runs, kind)
    first, second = (Predictor(model).predict(image) for model in models)
    scores = [[x.score for x in prediction.instances] for prediction in (first, second)]
    assert scores[0] and scores[0][0] == pytest.approx(scores[1][0], abs=0.01)
    if kind == "ctmasknet":
        found = first.classification.probabilities
        assert found == pytest.approx(second.classification.probabilities, abs=0.02)


def test_what_the_file_says(runs, packed):
    spec = find_model(runs.ctmasknet)
    file = packed("ctmasknet", license="MIT", terms="acknowledge", window=Window(400, 40))
    about = read_metadata(file)
    assert about["name"] == "own" and about["window"] == "400,40"
    assert (about["license"], about["terms"]) == ("MIT", "acknowledge")
    assert about["DATASETS.LESION_CLASSES"] == "lesion" and IMAGE_CLASSES == spec.image_classes
    assert about["MODEL.RANKED_BOXES.ENCODING"] == "deltas"
    assert read_metadata(packed())["license"] == "not stated"


def test_nothing_of_the_trainers_machine(runs, tmp_path):
    cfg = tiny_cfg(
        *("lesion", "OUTPUT_DIR", "/elsewhere/out", "MODEL.WEIGHTS", "/elsewhere/w.pth"),
        *("DATASETS.TRAIN", ("/elsewhere/phantom/a.json", "/elsewhere/b.json")),
        *("DATASETS.TEST", ("/elsewhere/c.json",)),
        *("DATALOADER.RANKED_BOXES_FOLDER", "/elsewhere/r"),
    )
    content = torch.load(runs.lesion / "model_best.pth")
    content["settings"] = {"DATASETS.TRAIN": "/elsewhere/phantom/a.json, /elsewhere/b.json"}
    torch.save(content, tmp_path / "w.pth")
    file = tmp_path / "own.safetensors"
    pack_model(find_model(cfg, tmp_path / "w.pth"), file, "own", LUNG)
    assert (
        b"/elsewhere" not in file.read_bytes() and str(tmp_path).encode() not in file.read_bytes()
    )
    assert find_model(file).trained_on == "phantom a.json, b.json"
    assert find_model(file).describe()["phantom"] is True


def test_what_float16_changes(runs, tmp_path):
    found = pack_model(find_model(runs.lesion), tmp_path / "own.safetensors", "own", LUNG)
    weight = torch.load(runs.lesion / "model_best.pth")["model"][found.tensor]
    assert found.change == (weight - weight.half().float()).abs().max().item() > 0
    assert found.size == weight.abs().max().item()


@pytest.mark.parametrize(
    ("file", "name", "message"),
    [
        ("own.pth", "own", "own.pth: the output must end in .safetensors"),
        ("own.safetensors", "a/b", "name 'a/b': expected a name without folders"),
        ("own.safetensors", "", "name '': expected"),
    ],
)
def test_what_cannot_be_packed(runs, tmp_path, file, name, message):
    with pytest.raises(ValueError, match=message):
        pack_model(find_model(runs.lesion), tmp_path / file, name, LUNG)
    assert list(tmp_path.iterdir()) == []


def test_a_model_in_the_package(shipped, tmp_path):
    assert shipped_models.model_names() == ["medseg"]
    assert find_model("medseg").weights == str(shipped)
    assert Predictor("medseg").lesion_classes == ("lesion",)
    with pytest.raises(ValueError, match=r"medseg\.safetensors: a whole model: name it as the"):
        find_model("R18_T1", "medseg")
    with pytest.raises(FileNotFoundError, match=r"medsge: .*mean medseg or .* package \(medseg\)"):
        find_model("medsge")
    with pytest.raises(ValueError, match=r"R18_T1: no weights; .* in the package \(medseg\)"):
        find_model("R18_T1")


def test_a_path_here_wins_over_a_model_in_the_package(runs, shipped, tmp_path):
    (tmp_path / "here/medseg").mkdir()
    with pytest.raises(FileNotFoundError, match=f"medseg: holds no config.yaml; .* is {shipped}"):
        find_model("medseg")
    for file in runs.lesion.iterdir():
        (tmp_path / "here/medseg" / file.name).symlink_to(file)
    assert find_model("medseg").weights == "medseg/model_best.pth"


def test_the_window_of_the_file_is_the_predictors(packed, scan):
    predictor = Predictor(packed(window=Window(400, 40)))
    assert predictor.window == Window(400, 40)
    hu = np.random.default_rng(2).integers(-1000, 400, (64, 64)).astype(np.int16)
    volume = read_volume(scan)

    def scores(*arguments):
        return [x.score for x in predictor.predict(*arguments).instances]

    def scan_scores(predict, *arguments):
        return [x.score for found in predict(*arguments).slices for x in found.instances]

    assert scores(hu) == scores(hu, "400,40") != scores(hu, "lung")
    for predict, source in ((predictor.predict, scan), (predictor.predict_volume, volume)):
        assert scan_scores(predict, source) == scan_scores(predict, source, "400,40")
        assert scan_scores(predict, source) != scan_scores(predict, source, "lung")


def test_each_of_two_models_sees_its_own_window(packed, scan):
    lesions = packed(file="b.safetensors", window=Window(400, 40))
    both = Predictor(packed("ctmasknet"), lesion_model=lesions)
    assert both.models.windows == (LUNG, Window(400, 40)) and both.window == Window(400, 40)
    hu = np.random.default_rng(2).integers(-1000, 400, (64, 64)).astype(np.int16)
    for source in (hu, scan):
        found = both.predict(source)
        alone = [Predictor(packed("ctmasknet")), Predictor(lesions)]
        classes, outlines = (model.predict(source) for model in alone)
        np.testing.assert_allclose(
            found.classification.probabilities, classes.classification.probabilities, atol=1e-5
        )
        slices = getattr(found, "slices", (found,))
        expected = getattr(outlines, "slices", (outlines,))
        scores = [[x.score for own in part for x in own.instances] for part in (slices, expected)]
        np.testing.assert_allclose(*scores, atol=1e-5)
    # 8-bit images have one window, which is said.
    assert both.describe()["settings"]["window"] == "1500,-600 and 400,40"


def test_weights_of_another_shape_than_the_config(packed, tmp_path):
    cfg = tiny_cfg("lesion", "MODEL.ROI_BOX_HEAD.FC_DIM", 32)
    file = tmp_path / "x.safetensors"
    about = read_metadata(packed()) | {"config": cfg.dump()}
    write_model_file(file, tiny_model("lesion").state_dict(), about)
    with pytest.raises(ValueError, match=f"^{file}: a checkpoint of another architecture"):
        Predictor(file)


def test_a_config_of_parts_that_are_not_registered(packed, tmp_path):
    file, about = tmp_path / "x.safetensors", read_metadata(packed())
    for key, message in (("META_ARCHITECTURE", "META_ARCH"), ("BACKBONE.NAME", "BACKBONE")):
        cfg = tiny_cfg("lesion", f"MODEL.{key}", "Mine")
        write_model_file(file, tiny_model("lesion").state_dict(), about | {"config": cfg.dump()})
        with pytest.raises(ValueError, match=f"^{file}.* 'Mine' found in '{message}'"):
            Predictor(file)


def test_a_config_of_keys_that_this_version_does_not_have(packed, tmp_path):
    file, about = tmp_path / "x.safetensors", read_metadata(packed())
    about["config"] += "NEW:\n  KEY: 1\n"
    write_model_file(file, tiny_model("lesion").state_dict(), about)
    with pytest.raises(ValueError, match=f"^{file} or an override of it: .*NEW"):
        find_model(file)


def test_settings_are_compared_as_those_of_checkpoints(packed, tmp_path):
    model = tiny_model("lesion", "MODEL.ANCHOR_GENERATOR.NAME", "RoundedAnchorGenerator")
    about = read_metadata(packed()) | settings_of(model)
    write_model_file(tmp_path / "x.safetensors", model.state_dict(), about)
    with pytest.raises(ValueError, match="x.safetensors: the checkpoint was made with MODEL.ANCH"):
        Predictor(tiny_cfg("lesion"), tmp_path / "x.safetensors")
