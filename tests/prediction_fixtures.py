"""Small untrained models in folders of training runs, small inputs, and the command itself."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dicom_files import write_series
from PIL import Image
from tiny_models import CONFIGS, tiny_cfg, tiny_model

from ctmasknet.__main__ import main
from ctmasknet.data.classes import IMAGE_CLASSES
from ctmasknet.inference import Predictor

SMALL = ("INPUT.MIN_SIZE_TEST", 64, "DATASETS.TRAIN", ("phantom_train",))
SMALL += ("DATASETS.IMAGE_CLASSES", IMAGE_CLASSES)
SMALL += ("TEST.DETECTIONS_PER_IMAGE", 6)  # drawing and pasting take longer than the network


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """`lesion` and `ctmasknet`: folders with config.yaml and model_best.pth."""
    root = tmp_path_factory.mktemp("runs")
    for kind in CONFIGS:
        folder = root / kind
        folder.mkdir()
        cfg = tiny_cfg(kind, *SMALL, "MODEL.NAME", f"tiny_{kind}")
        (folder / "config.yaml").write_text(cfg.dump())
        weights = tiny_model(kind).state_dict()
        if kind == "lesion":
            # Logits on both sides of the 0.5 that cuts masks.
            weights["roi_heads.mask_head.predictor.weight"] *= 300
            weights["roi_heads.mask_head.predictor.bias"] += 0.5
        torch.save({"model": weights}, folder / "model_best.pth")
    return SimpleNamespace(**{kind: root / kind for kind in CONFIGS})


@pytest.fixture
def slices(tmp_path):
    """A grey and a colour image, not square."""
    folder = tmp_path / "slices"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (80, 100), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "grey.png")
    Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(folder / "colour.jpg")
    return folder


@pytest.fixture
def scan(tmp_path):
    """A small DICOM series of noise in HU."""
    hu = np.random.default_rng(1).integers(-1000, 200, (4, 16, 16)).astype(np.int16)
    axes = ((-1, 0, 0), (0, 1, 0))
    write_series(tmp_path / "scan", hu, axes=axes, FrameOfReferenceUID="1.2.3.4.5")
    return tmp_path / "scan"


@pytest.fixture(scope="session")
def predictors():
    """Predictors by their arguments; none of them changes."""
    return {}


@pytest.fixture
def predict_and_report(runs, tmp_path, capsys, monkeypatch, predictors):
    """Run the command; returns its exit code, what it printed and its error lines."""

    def predictor(*args, **kwargs):
        key = repr((args, kwargs))
        if key not in predictors:
            predictors[key] = Predictor(*args, **kwargs)
        return predictors[key]

    monkeypatch.setattr("ctmasknet.commands.predict.Predictor", predictor)

    def run(*inputs, options=(), model=runs.ctmasknet, lesion_model=runs.lesion, hidden=False):
        command = ["predict", *map(str, inputs), "--model", str(model)]
        command += ["--output", str(tmp_path / "out"), "--min-score", "0.3"]
        command += ["--lesion-model", str(lesion_model)] if lesion_model else []
        command += [] if hidden else ["--keep-identifiers"]
        with pytest.raises(SystemExit) as stop:
            main([*command, *map(str, options)])
        printed = capsys.readouterr()
        errors = [x for x in printed.err.splitlines() if x.startswith("error")]
        return stop.value.code, printed.out, errors

    return run


@pytest.fixture
def predict(predict_and_report, monkeypatch):
    """As `predict_and_report`, with reports of one word: figures take longer than all the rest."""

    def write_report(path, case, key_slices, viewer):
        path.write_text(case.name)

    monkeypatch.setattr("ctmasknet.report.case_files.write_report", write_report)
    monkeypatch.setattr("ctmasknet.commands.predict_inputs.choose_key_slices", lambda case: [0])
    return predict_and_report
