import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from ctmasknet.data.classes import IMAGE_CLASSES
from ctmasknet.evaluation import ImageClassificationEvaluator
from ctmasknet.evaluation.prediction_table import read_predictions


@pytest.fixture
def dataset_name():
    name = "image_classification_test"
    DatasetCatalog.register(name, list)
    MetadataCatalog.get(name).set(image_classes=IMAGE_CLASSES)
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def evaluate(evaluator, *rows):
    """Give an evaluator (sample, logits) rows and ask for its metrics."""
    evaluator.reset()
    for sample, logits in rows:
        evaluator.process([sample], [{"image_logits": torch.tensor(logits)}])
    return evaluator.evaluate()


def sample(name, label, patient="P1", scan="S1"):
    return {"file_name": name, "patient": patient, "scan": scan, "label": label}


def test_evaluator_counts_and_writes_what_it_saw(dataset_name, tmp_path):
    metrics = evaluate(
        ImageClassificationEvaluator(dataset_name, str(tmp_path)),
        (sample("b.png", 0, "P2"), [2.0, 1, 0]),
        (sample("a.png", 2), [0.0, 0, 1]),
        (sample("c.png", 2), [3.0, 0, 1]),
    )
    assert metrics["image"]["accuracy"] == pytest.approx(2 / 3)
    assert metrics["image"]["sensitivity_COVID_19"] == 0.5
    assert metrics["image"]["precision_Control"] == 0.5
    # The mean of P1's two slices is Control, which is wrong.
    assert metrics["scan"]["accuracy"] == metrics["patient"]["accuracy"] == 0.5
    table = read_predictions(tmp_path / "predictions.csv")
    assert table.labels.tolist() == [2, 0, 2]  # sorted by file name
    assert table.patients == ("P1", "P2", "P1")
    assert table.logits.tolist() == [[0, 0, 1], [2, 1, 0], [3, 0, 1]]


def test_predictions_name_slices_without_the_folders_of_the_machine(dataset_name, tmp_path):
    evaluate(
        ImageClassificationEvaluator(dataset_name, str(tmp_path)),
        ({"file_name": "/data/set/P1/a.png", "label": 0}, [2.0, 1, 0]),
        (sample("/data/set/P2/b.png", 1), [2.0, 1, 0]),
        (sample("/data/set/P2/c.png", 2), [2.0, 1, 0]),
    )
    table = read_predictions(tmp_path / "predictions.csv")
    assert table.file_names == ("P1/a.png", "P2/b.png", "P2/c.png")
    assert table.patients[0] == table.scans[0] == "P1/a.png"  # not known


def test_slices_without_patient_are_patients_of_their_own(dataset_name, tmp_path):
    metrics = evaluate(
        ImageClassificationEvaluator(dataset_name, str(tmp_path)),
        ({"file_name": "a.png", "label": 0}, [2.0, 1, 0]),
        (sample("b.png", 1, patient="", scan=None), [2.0, 1, 0]),
        (sample("c.png", 2, patient=0, scan=0), [2.0, 1, 0]),  # numbers are ids, too
    )
    assert metrics["image"] == pytest.approx(metrics["patient"], nan_ok=True)
    assert read_predictions(tmp_path / "predictions.csv").scans == ("a.png", "b.png", "0")


def test_metrics_fit_detectron2s_log(dataset_name, caplog):
    with caplog.at_level("INFO"):
        metrics = evaluate(
            ImageClassificationEvaluator(dataset_name), (sample("a", 0), [1.0, 0, 0])
        )
    assert all(isinstance(x, float) and "-" not in k for k, x in metrics["image"].items())
    assert "true Common Pneumonia" in caplog.text


def test_wrong_number_of_logits_names_both(dataset_name):
    with pytest.raises(ValueError, match="2 image logits.*3 classes"):
        evaluate(ImageClassificationEvaluator(dataset_name), (sample("a.png", 0), np.zeros(2)))


def test_nothing_to_evaluate_names_the_data_set(dataset_name):
    with pytest.raises(ValueError, match=f"{dataset_name}: found no prediction"):
        evaluate(ImageClassificationEvaluator(dataset_name))
