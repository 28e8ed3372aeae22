"""`ctmasknet pack`, and its files where commands take models."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from prediction_files import result_of
from tiny_models import small_cfg, tiny_model

from ctmasknet import shipped_models
from ctmasknet.checkpoint.model_file import read_metadata, write_model_file
from ctmasknet.commands.demo import Demo
from ctmasknet.config import get_cfg
from ctmasknet.data.phantom import write_phantom
from ctmasknet.data.registration import register_paths
from ctmasknet.engine import load_config
from ctmasknet.inference.model_spec import find_model

# Whole networks, commands or data sets; what a test registers is forgotten.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_data_sets")]

SMALL = (
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64", "SOLVER.MAX_ITER", "2"),
    *("SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0", "TEST.EVAL_PERIOD", "2"),
    *("MODEL.RPN.POST_NMS_TOPK_TEST", "30", "MODEL.RANKED_BOXES.NUM", "8"),
    *("MODEL.IMAGE_HEAD.FC_DIM", "8", "TEST.BOOTSTRAP_RESAMPLES", "20"),
)


@pytest.fixture
def packed(command, runs, tmp_path):
    path = tmp_path / "own.safetensors"
    assert command("pack", runs.lesion, path, "--name", "own", "--license", "MIT")[0] == 0
    return path


@pytest.fixture
def shipped(packed, tmp_path, monkeypatch):
    """The same as a model in the package, called medseg; the current directory is another."""
    monkeypatch.setattr(shipped_models, "MODELS", tmp_path / "models")
    (tmp_path / "models").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return packed.rename(tmp_path / "models/medseg.safetensors")


@pytest.fixture
def phantoms(tmp_path):
    write_phantom(tmp_path / "phantom", patients=9, slices=2, size=128, split=(1, 1, 1))
    return tmp_path / "phantom"


def test_what_it_prints(command, runs, tmp_path):
    path = tmp_path / "own.safetensors"
    words = (
        "--weights",
        runs.lesion / "model_best.pth",
        "--window",
        "400,40",
        "--terms",
        "Thank us.",
    )
    words += ("--opts", "INPUT.FIELD_OF_VIEW", "lung")
    code, printed, _ = command("pack", runs.lesion / "config.yaml", path, *words)
    first, seen, second, third = printed.splitlines()
    assert seen == "window 400,40, field of view lung, lesions from a score of 0.5"
    assert code == 0 and first == f"{path}: lesion model (lesion) tiny_lesion, 12.2 MB"
    assert second == f"SHA-256: {hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert third.startswith("float16 changes weights by 0.00")
    about = read_metadata(path)
    assert (about["window"], about["terms"]) == ("400,40", "Thank us.")
    assert about["field_of_view"] == "lung"
    assert find_model(path).cfg.INPUT.WINDOW == (400, 40)
    code, _, errors = command("pack", path, tmp_path / "again.safetensors")
    assert code == 2 and f"{path}: is a model in one file already" in errors
    assert path.stat().st_size < 12.3e6  # half of the 24 MB of the checkpoint


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere", "own.safetensors"), "error: nowhere: no such config file or model"),
        (("RUN", "own.pth"), "own.pth: the output must end in .safetensors"),
        (("RUN", "own.safetensors", "--window", "soft"), "error: window 'soft': expected WIDTH"),
        (("R18_T1", "own.safetensors"), "error: R18_T1: no weights; name a checkpoint"),
    ],
)
def test_what_cannot_be_packed(command, runs, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, _, error = command("pack", *(runs.lesion if x == "RUN" else x for x in words))
    assert code == 2 and message in error and list(tmp_path.iterdir()) == []


def test_info_in_words_and_for_programs(command, packed, shipped):
    code, printed, _ = command("info", "medseg")
    assert code == 0
    assert printed.startswith(f"{shipped}: lesion model (lesion) own, 12.2 MB\n")
    for line in (
        *("window of its slices: 1500,-600 (width,level in HU)", "field of view: image"),
        *("trained on: phantom_train", "licence: MIT", "terms: not stated"),
        f"SHA-256: {hashlib.sha256(shipped.read_bytes()).hexdigest()}",
    ):
        assert f"  {line}\n" in printed + "\n"
    assert json.loads(command("info", shipped, "--json")[1])["config"].startswith("CUDNN_BENCHMARK")
    assert "\nmodels in the package\n  medseg\n" in command("info")[1]


def test_info_checks_every_byte(command, packed):
    content = bytearray(packed.read_bytes())
    content[-1] ^= 1
    packed.write_bytes(content)
    code, _, error = command("info", packed)
    assert code == 2 and error.startswith(f"error: {packed}: damaged: its content has not the SHA")


def test_info_takes_no_folder(command, runs):
    code, _, error = command("info", runs.lesion)
    assert code == 2 and "expected a model file (.safetensors; `ctmasknet pack` makes one" in error


def test_predict_by_a_name(predict, slices, tmp_path, shipped):
    code, printed, errors = predict(slices, model="medseg", lesion_model=None)
    assert (code, errors) == (0, []) and "1 of 1 predicted" in printed
    result = result_of(tmp_path / "out" / "slices")
    (model,) = result["about"]["models"]
    assert (model["name"], model["weights"], model["phantom"]) == ("own", str(shipped), True)
    assert model["sha256"] == hashlib.sha256(shipped.read_bytes()).hexdigest()


def test_predict_takes_the_window_of_the_file(command, predict, slices, tmp_path, runs):
    path = tmp_path / "own.safetensors"
    command("pack", runs.lesion, path, "--window", "400,40")
    for options, window in (((), "400,40"), (("--window", "lung", "--overwrite"), "1500,-600")):
        assert predict(slices, model=path, lesion_model=None, options=options)[0] == 0
        assert result_of(tmp_path / "out/slices")["about"]["settings"]["window"] == window


def test_help_names_the_models_in_the_package(command, shipped):
    for name in ("predict", "evaluate", "train"):
        printed = " ".join(command(name, "--help")[1].split())
        assert "package (medseg)" in printed and "a path here wins over a name" in printed


def test_evaluate_and_train_from_it(command, shipped, phantoms, tmp_path):
    lesions = phantoms / "lesion_merge_test.json"
    code, printed, error = command(
        *("evaluate", "--model", "medseg", "--dataset", lesions, "--output", tmp_path / "results"),
        *("TEST.BOOTSTRAP_RESAMPLES", 20, "DATALOADER.NUM_WORKERS", 0),
    )
    assert code == 0, error
    results = json.loads((tmp_path / "results/results.json").read_text())
    assert (results["model"], results["weights"]) == ("own", shipped.name)
    for path in [tmp_path / "results/results.json", *(tmp_path / "results/inference").rglob("*")]:
        if path.suffix in (".json", ".csv"):
            assert str(tmp_path.parent.parent) not in path.read_text(), path
    code, _, error = command(
        *("train", "quick/ctmasknet_R18_T1", "--weights", "medseg", "--output", tmp_path / "run"),
        *("--train", phantoms / "train.csv", "--validation", phantoms / "val.csv", *SMALL),
    )
    assert code == 0, error
    log = (tmp_path / "run/log.txt").read_text()
    assert f"{shipped}:\n" in log and "lesion classes of medseg: 1" in log
    command("pack", tmp_path / "run", tmp_path / "classes.safetensors")
    assert read_metadata(tmp_path / "classes.safetensors")["DATASETS.TRAIN"] == "phantom train.csv"


def test_weights_by_a_name_in_a_config(shipped, tmp_path):
    cfg = load_config("R18_T1", ("MODEL.WEIGHTS", "medseg"), datasets=False)
    assert cfg.MODEL.WEIGHTS == str(shipped)
    assert load_config("R18_T1", ("MODEL.WEIGHTS", "med.pth"), False).MODEL.WEIGHTS == "med.pth"
    Path("medseg").mkdir()
    assert load_config("R18_T1", ("MODEL.WEIGHTS", "medseg"), False).MODEL.WEIGHTS == "medseg"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "own.safetensors", "--train", "a.json"), "own.safetensors: a model, no CONFIG"),
        (("train", "other", "--train", "a.json"), "other: a model in the package, no config; "),
        (("train", "R18_T1", "--weights", "med", "--train", "a.csv"), "package (medseg)"),
        (("predict", "a.png", "--model", "medsegg", "--output", "o"), "package (medseg)"),
        (("info", "medsegg"), "package (medseg)"),
    ],
)
def test_names_that_are_none(command, shipped, words, message):
    if "other" in words:  # configs, too, may be called medseg
        shutil.copy(shipped, shipped.with_stem("other"))
    Path("a.png").touch()
    Path("a.csv").write_text("file,label,patient,scan\na.png,A,1,1\n")
    code, _, error = command(*words)
    assert code == 2 and message in error.splitlines()[-1]


def test_weights_that_do_not_fit_the_config_in_the_file(command, packed, slices, tmp_path):
    about = read_metadata(packed) | {"config": small_cfg("lesion/R34_T1").dump()}
    write_model_file(packed, tiny_model("lesion").state_dict(), about)
    code, _, error = command("predict", slices, "--model", packed, "--output", tmp_path / "o")
    assert code == 2 and f"error: {packed}: a checkpoint of another architecture" in error
    assert not (tmp_path / "o").exists()


def test_the_demo_ends_with_a_model_in_the_package(shipped, phantoms, tmp_path, capsys):
    cfg = get_cfg()
    cfg.DATASETS.TEST = register_paths([str(phantoms / "test.csv")])
    demo = Demo(tmp_path / "demo", quick=True)
    assert demo.shipped
    with demo.stage("shipped_model", "predict a scan"):
        demo._predict_scan(cfg)
    printed = capsys.readouterr().out
    assert "[1/6] predict a scan" in printed
    assert "--as-scan --model medseg --output" in printed and "the scan is drawn" in printed
    (report,) = (tmp_path / "demo/medseg").glob("*/report.html")
    assert (
        result_of(report.parent)["kind"] == "scan" and f"{report.parent.name}: 2 slices" in printed
    )


def test_the_demo_without_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shipped_models, "MODELS", tmp_path)
    demo = Demo(tmp_path)
    with demo.stage("phantoms", "draw"):
        pass
    assert not demo.shipped and "[1/5] draw" in capsys.readouterr().out
