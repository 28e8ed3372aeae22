import math

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from ctmasknet.data.classes import IMAGE_CLASSES
from ctmasknet.evaluation import ImageClassificationEvaluator, classification_metrics
from ctmasknet.evaluation.image_classification import confusion_table, read_predictions

# Published confusion matrix of the R50 merged model (rows Control, CP, COVID-19).
PUBLISHED = [[9236, 188, 26], [116, 7150, 129], [20, 298, 4028]]


def test_published_matrix_gives_the_published_figures():
    metrics = classification_metrics(PUBLISHED, IMAGE_CLASSES)
    assert round(100 * metrics["sensitivity_COVID_19"], 2) == 92.68
    assert round(100 * metrics["sensitivity_Common_Pneumonia"], 2) == 96.69
    assert round(100 * metrics["sensitivity_Control"], 2) == 97.74
    assert round(100 * metrics["accuracy"], 2) == 96.33
    assert metrics["precision_COVID_19"] == pytest.approx(4028 / (26 + 129 + 4028))
    assert not any("-" in name for name in metrics)


def test_class_without_images_has_no_sensitivity():
    metrics = classification_metrics([[2, 1], [0, 0]], ["a", "b"])
    assert math.isnan(metrics["sensitivity_b"])
    assert metrics["precision_b"] == 0
    assert math.isnan(classification_metrics(np.zeros((2, 2)), ["a", "b"])["accuracy"])


def test_table_shows_every_count():
    table = confusion_table(np.array(PUBLISHED), IMAGE_CLASSES)
    assert "9236" in table and "92.7%" in table and "96.3%" in table


@pytest.fixture
def dataset_name():
    name = "image_classification_test"
    DatasetCatalog.register(name, list)
    MetadataCatalog.get(name).set(image_classes=IMAGE_CLASSES)
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_evaluator_counts_and_writes_what_it_saw(dataset_name, tmp_path):
    evaluator = ImageClassificationEvaluator(dataset_name, str(tmp_path))
    evaluator.reset()
    inputs = [
        {"file_name": name, "patient": "P1", "scan": "S1", "label": label}
        for name, label in (("b.png", 0), ("a.png", 2), ("c.png", 2))
    ]
    logits = [[2.0, 1, 0], [0.0, 0, 1], [3.0, 0, 1]]
    evaluator.process(inputs, [{"image_logits": torch.tensor(x)} for x in logits])
    metrics = evaluator.evaluate()["image"]
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["sensitivity_COVID_19"] == 0.5
    assert metrics["precision_Control"] == 0.5
    labels, saved = read_predictions(tmp_path / "predictions.csv")
    assert labels.tolist() == [2, 0, 2]  # sorted by file name
    assert saved.tolist() == [logits[1], logits[0], logits[2]]


def test_wrong_number_of_logits_names_both(dataset_name):
    evaluator = ImageClassificationEvaluator(dataset_name)
    with pytest.raises(ValueError, match="2 image logits.*3 classes"):
        evaluator.process([{"label": 0}], [{"image_logits": torch.zeros(2)}])
