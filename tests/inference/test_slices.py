"""tools/predict.py on good and on bad files."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import CONFIG_FOLDER, CONFIGS, tiny_model

from ctmasknet.engine import load_config
from ctmasknet.inference import Predictor
from ctmasknet.inference.slices import find_slices

ROOT = Path(__file__).parents[2]
SMALL = {
    "INPUT.MIN_SIZE_TEST": "64",
    "MODEL.RPN.PRE_NMS_TOPK_TEST": "100",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "50",
    "MODEL.RANKED_BOXES.NUM": "16",
    "MODEL.IMAGE_HEAD.FC_DIM": "8",
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for kind in CONFIGS:
        torch.save({"model": tiny_model(kind).state_dict()}, folder / f"{kind}.pth")
    return folder


@pytest.fixture
def slices(tmp_path):
    folder = tmp_path / "slices"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (80, 100), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "grey.png")
    Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(folder / "colour.jpg")
    return folder


@pytest.fixture
def predict(monkeypatch, weights, tmp_path, capsys):
    def run(*inputs, kind="ctmasknet", checkpoint=None):
        command = ["predict.py", "--config-file", str(CONFIG_FOLDER / f"{CONFIGS[kind]}.yaml")]
        command += ["--weights", str(checkpoint or weights / f"{kind}.pth")]
        command += ["--output", str(tmp_path / "out"), "--min-score", "0.1", *map(str, inputs)]
        command += ["--opts", *(x for pair in SMALL.items() for x in pair)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(ROOT / "tools" / "predict.py"), run_name="__main__")
        written = sorted(p.name for p in (tmp_path / "out").glob("*"))
        errors = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
        return stop.value.code, written, errors

    return run


def test_a_folder_of_slices(predict, slices, tmp_path):
    code, written, errors = predict(slices)
    assert (code, errors) == (0, [])
    assert written == ["colour.json", "colour_overlay.png", "grey.json", "grey_overlay.png"]
    result = json.loads((tmp_path / "out" / "grey.json").read_text())
    assert result["size"] == [80, 100] and "not for diagnosis" in result["notice"]
    assert sum(result["image_probs"].values()) == pytest.approx(1, abs=1e-5)
    assert result["image_class"] == max(result["image_logits"], key=result["image_logits"].get)
    assert result["lesions"], "an untrained model scores every box about one half"
    for lesion in result["lesions"]:
        x0, y0, x1, y1 = lesion["box"]
        assert 0 <= x0 < x1 <= 100 and 0 <= y0 < y1 <= 80
        assert lesion["class"] == "lesion" and 0.1 <= lesion["score"] <= 1
    overlay = Image.open(tmp_path / "out" / "grey_overlay.png")
    assert overlay.size == (700, 7 * 80 + 34)  # enlarged by 7, with a strip of text above


def test_a_lesion_model_gives_mask_areas_and_no_class(predict, slices, tmp_path):
    code, _, _ = predict(slices / "grey.png", kind="lesion")
    result = json.loads((tmp_path / "out" / "grey.json").read_text())
    assert code == 0 and "image_class" not in result
    assert all(isinstance(lesion["area_px"], int) for lesion in result["lesions"])


def test_bad_files_are_named_and_do_not_stop_the_others(predict, slices):
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(slices / "deep.png")
    Image.new("P", (8, 8)).save(slices / "mapped.png")
    (slices / "empty.png").write_bytes(b"")
    whole = (slices / "grey.png").read_bytes()
    (slices / "half.png").write_bytes(whole[: len(whole) // 2])
    code, written, errors = predict(slices)
    assert code == 2
    assert written == ["colour.json", "colour_overlay.png", "grey.json", "grey_overlay.png"]
    for name, found in {
        "deep.png": "16-bit",
        "mapped.png": "colour-mapped",
        "empty.png": "0 bytes",
        "half.png": "damaged",
    }.items():
        (line,) = [x for x in errors if name in x]
        assert found in line


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.png", "none.png: no such file"),
        (lambda folder: (folder / "sub").mkdir() or folder / "sub", "no image in this folder"),
    ],
)
def test_missing_file_and_empty_folder(predict, slices, make, message):
    code, written, errors = predict(make(slices))
    assert code == 2 and written == []
    assert len(errors) == 1 and message in errors[0]


def test_checkpoint_of_another_architecture(predict, slices, weights):
    code, written, errors = predict(slices, kind="lesion", checkpoint=weights / "ctmasknet.pth")
    assert code == 2 and written == []
    assert len(errors) == 1 and "another architecture" in errors[0]


def test_inputs_of_equal_name_get_their_folders_name(predict, slices, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "grey.png").write_bytes((slices / "grey.png").read_bytes())
    _, written, _ = predict(slices / "grey.png", other / "grey.png")
    assert [x for x in written if x.endswith("json")] == [
        "other_grey.png.json",
        "slices_grey.png.json",
    ]


def test_files_and_folders_mix(slices):
    files = find_slices([slices / "grey.png", slices])
    assert [p.name for p in files] == ["grey.png", "colour.jpg", "grey.png"]


def test_output_that_is_a_file_is_refused_before_any_work(predict, slices, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, _, errors = predict(slices)
    assert code == 2 and len(errors) == 1 and "expected a folder" in errors[0]
    assert (tmp_path / "out").read_text() == "mine"


def test_nothing_is_made_when_the_start_fails(predict, slices, tmp_path):
    predict(slices, checkpoint=tmp_path / "none.pth")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("mask_type", "name"), [("ggo", "GGO"), ("merge", "lesion"), ("", "lesion")]
)
def test_lesions_are_called_what_the_config_says(weights, mask_type, name):
    config = str(CONFIG_FOLDER / "lesion" / "R18_T1.yaml")
    opts = [*(x for pair in SMALL.items() for x in pair), "INPUT.MASK_TYPE", mask_type]
    predictor = Predictor(load_config(config, opts, datasets=False), str(weights / "lesion.pth"))
    assert predictor.lesion_classes == (name,)
