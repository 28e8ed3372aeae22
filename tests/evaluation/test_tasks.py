"""Metrics of one's own: registered once, they are in training, reports, texts and tables."""

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import Boxes, Instances

from ctmasknet.evaluation import (
    ImageClassificationEvaluator,
    LesionEvaluator,
    Task,
    register_task,
)
from ctmasknet.evaluation.comparison import compare, describe_comparison
from ctmasknet.evaluation.image_report import ImageReportSettings, report_images
from ctmasknet.evaluation.lesion_report import LesionReportSettings, report_lesions
from ctmasknet.evaluation.model_zoo import find_evaluations, zoo_page
from ctmasknet.evaluation.prediction_table import make_table, write_predictions
from ctmasknet.evaluation.tasks import TASKS
from ctmasknet.evaluation.text import describe

pytestmark = pytest.mark.usefixtures("no_figures")


def surplus(lesions, settings):
    """Detections beyond the lesions of an image."""
    extra = np.array([len(image.scores) - len(image.true_masks) for image in lesions.images])
    return lambda weights: {"per_image": weights @ extra / weights.sum(axis=1)}


def errors(level):
    """The share of scans whose class is wrong."""
    wrong = level.probabilities.argmax(axis=1) != level.labels
    return lambda weights: {"rate": weights @ wrong / weights.sum(axis=1)}


OWN = (
    Task(
        "surplus",
        kind="lesions",
        statistic=surplus,
        title="detections beyond lesions",
        factor=1,  # not a fraction, to be shown in percent
        columns={"surplus": "per_image"},
    ),
    Task(
        "errors",
        kind="images",
        statistic=errors,
        title="wrong scans",
        level="scan",
        columns={"wrong scans": "rate"},
    ),
)


@pytest.fixture(autouse=True)
def own_tasks():
    for task in OWN:
        register_task(task)
    yield
    for task in OWN:
        TASKS.pop(task.name, None)


def check_report(results, folder, task, metric, value, title):
    """In results.json with an interval, in the text, in the model zoo and in a comparison."""
    assert list(results["metrics"])[-1] == task
    assert results["metrics"][task] == {metric: pytest.approx(value)}
    interval = results["intervals"]["values"][task][metric]
    assert interval["value"] == pytest.approx(value) and interval["low"] <= interval["high"]
    assert title in describe(results)
    page = zoo_page(find_evaluations([folder]), "command")
    head, _, row = (line for line in page.splitlines() if line.startswith("|"))
    columns = [[cell.strip() for cell in line.split("|")] for line in (head, row)]
    column = TASKS[task].columns
    assert dict(zip(*columns, strict=True))[next(iter(column))].startswith(
        f"{TASKS[task].factor * value:.1f} ("
    )
    compared = compare(folder, folder, 10, 0)
    assert compared.tasks[task][metric].change.value == 0
    assert task in describe_comparison(compared)


def test_lesions(write_lesions, lesion_set, tmp_path):
    boxes = [(i, 0, 0, 0, 20, 20) for i in (1, 2, 3)]
    found = [(i, 0, 0.9, 0, 0, 20, 20) for i in (1, 1, 1, 2)]
    made = lesion_set(boxes, found, images=4, patients=["a", "b", "c", "d"])
    about = {"dataset": {"name": "own"}}
    results = report_lesions(made, tmp_path / "out", LesionReportSettings(resamples=9), about)
    check_report(results, tmp_path / "out", "surplus", "per_image", 0.25, "detections beyond")

    name = f"tasks_{tmp_path.name}"
    register_coco_instances(name, {}, str(tmp_path / "truth.json"), str(tmp_path))
    DatasetCatalog.get(name)  # fills the metadata's class mapping, as a data loader does
    try:
        evaluator = LesionEvaluator(name, str(tmp_path / "training"), False, 10)
        evaluator.reset()
        for image in (1, 2, 3, 4):
            instances = Instances((48, 64))
            instances.pred_boxes = Boxes(torch.tensor([[0.0, 0, 20, 20]]))
            instances.scores, instances.pred_classes = torch.ones(1), torch.zeros(1).long()
            evaluator.process([{"image_id": image}], [{"instances": instances}])
        metrics = evaluator.evaluate()
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    assert list(metrics) == ["bbox", "surplus"]
    assert metrics["surplus"] == {"per_image": 0.25}


def test_images(tmp_path):
    rows = [
        (f"{i}.png", f"P{i}", "S", i % 2, [1.0, 0.0] if i < 2 else [0.0, 1.0]) for i in range(4)
    ]
    table = make_table(rows, ("a", "b"), "own")
    settings, about = ImageReportSettings(resamples=9), {"dataset": {"name": "own"}}
    results = report_images(table, tmp_path / "out", None, settings, about)
    write_predictions(table, tmp_path / "out" / "predictions.csv")
    check_report(results, tmp_path / "out", "errors", "rate", 0.5, "wrong scans")

    MetadataCatalog.get("tasks_images").image_classes = ("a", "b")
    try:
        evaluator = ImageClassificationEvaluator("tasks_images")
        for name, patient, scan, label, logits in rows:
            sample = {"file_name": name, "patient": patient, "scan": scan, "label": label}
            evaluator.process([sample], [{"image_logits": torch.tensor(logits)}])
        metrics = evaluator.evaluate()
    finally:
        MetadataCatalog.remove("tasks_images")
    assert list(metrics) == ["image", "scan", "patient", "errors"]
    assert metrics["errors"] == {"rate": 0.5}


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="a task called segm is registered already"):
        register_task(Task("segm", "lesions", lambda *_: None, "mine"))


def test_a_task_that_is_not_registered_is_shown_all_the_same(lesion_set, tmp_path):
    made = lesion_set([(1, 0, 0, 0, 20, 20)])
    results = report_lesions(made, tmp_path, LesionReportSettings(resamples=5), {})
    del TASKS["surplus"]
    assert "surplus\n" in describe(results) and "per_image" in describe(results)
