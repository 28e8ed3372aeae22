"""Reports of a run: validation sets choose, test sets are only reported."""

import numpy as np
import pytest
from detectron2.data import MetadataCatalog

from ctmasknet import get_cfg
from ctmasknet.data.classes import IMAGE_CLASSES
from ctmasknet.engine.reports import (
    datasets_to_predict,
    prediction_folder,
    validation_of,
    write_reports,
)
from ctmasknet.evaluation.prediction_table import make_table, write_predictions
from ctmasknet.evaluation.results import read_results


def make_cfg(validation, test, output=""):
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE = "CTMaskNet"
    cfg.DATASETS.VALIDATION, cfg.DATASETS.TEST = validation, test
    cfg.TEST.BOOTSTRAP_RESAMPLES = 10
    cfg.OUTPUT_DIR = str(output)
    return cfg


@pytest.mark.parametrize(
    ("validation", "test", "chosen_on", "predicted"),
    [
        (("v",), ("t",), ["v"], ("t", "v")),
        ((), ("t",), [None], ("t",)),
        (("t",), ("t",), [None], ("t",)),
        (("t", "v"), ("t",), ["v"], ("t", "v")),
        (("v", "w"), ("v", "t"), ["w", "v"], ("v", "t", "w")),
    ],
)
def test_a_test_set_never_chooses_for_itself(validation, test, chosen_on, predicted):
    cfg = make_cfg(validation, test)
    assert [validation_of(cfg, name) for name in test] == chosen_on
    assert datasets_to_predict(cfg) == predicted


def test_lesion_models_need_no_validation():
    cfg = make_cfg(("v",), ("t",))
    cfg.MODEL.META_ARCHITECTURE = "LesionRCNN"
    assert datasets_to_predict(cfg) == ("t",)


def predict(cfg, dataset, prefix):
    MetadataCatalog.get(dataset).set(evaluator_type="image", image_classes=IMAGE_CLASSES)
    rows = [(f"{prefix}{i}.png", f"P{i}", "S", i % 3, np.eye(3)[i % 3].tolist()) for i in range(12)]
    table = make_table(rows, IMAGE_CLASSES, dataset)
    write_predictions(table, prediction_folder(cfg, dataset) / "predictions.csv")


@pytest.fixture
def names(tmp_path):
    found = tuple(f"reports_{tmp_path.name}_{part}" for part in ("val", "test"))
    yield found
    for name in found:
        MetadataCatalog.pop(name, None)


def test_the_same_slices_under_another_name_choose_nothing(tmp_path, names):
    validation, test = names
    cfg = make_cfg((validation,), (test,), tmp_path)
    predict(cfg, validation, "a")
    predict(cfg, test, "a")
    metrics = write_reports(cfg, tmp_path / "model.pth", precision="bfloat16")
    assert metrics[test]["image"]["accuracy"] == 1
    results = read_results(prediction_folder(cfg, test) / "results.json")
    assert results["calibration"] is None and results["operating_points"] is None
    assert results["warnings"][0].startswith(f"validation set {validation} has the same slices")
    assert results["weights_sha256"] is None  # there is no such file
    assert results["precision"] == "bfloat16"


def test_undefined_metrics_are_nan_for_detectron2(tmp_path, names):
    test = names[1]
    cfg = make_cfg((), (test,), tmp_path)
    MetadataCatalog.get(test).set(evaluator_type="image", image_classes=IMAGE_CLASSES)
    table = make_table([("a.png", "P", "S", 0, [1.0, 0, 0])], IMAGE_CLASSES, "test")
    write_predictions(table, prediction_folder(cfg, test) / "predictions.csv")
    metrics = write_reports(cfg, tmp_path / "model.pth")
    assert np.isnan(metrics[test]["image"]["sensitivity_COVID_19"])
