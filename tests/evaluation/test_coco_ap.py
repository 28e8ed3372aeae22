import json
import math

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import Boxes, Instances

from ctmasknet.evaluation import LesionEvaluator
from ctmasknet.evaluation.coco_ap import (
    CocoStatistic,
    coco_metrics,
    precision_recall,
    run_coco,
)
from ctmasknet.evaluation.lesion_files import read_lesions

CLASSES = ("GGO", "crazy-paving")
silent = pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated")  # Detectron2's


@pytest.fixture
def evaluate(tmp_path):
    """Run Detectron2's evaluator, as in training, on the detections of a lesion set."""
    names = []

    def run(lesions, masks=True, max_detections=100):
        path = tmp_path / "registered.json"
        path.write_text(json.dumps(lesions.truth.dataset))
        names.append(f"coco_ap_{tmp_path.name}_{len(names)}")
        register_coco_instances(names[-1], {}, str(path), str(tmp_path))
        DatasetCatalog.get(names[-1])  # fills the metadata's class mapping
        evaluator = LesionEvaluator(names[-1], str(tmp_path / "out"), masks, max_detections)
        evaluator.reset()
        for image in lesions.images:
            boxes = mask_util.toBbox(image.found_masks) if image.found_masks else np.zeros((0, 4))
            boxes[:, 2:] += boxes[:, :2]
            found = Instances((image.height, image.width))
            found.pred_boxes = Boxes(torch.tensor(boxes))
            found.scores = torch.tensor(image.scores)
            found.pred_classes = torch.tensor(image.found_classes)
            pasted = [mask_util.decode(mask) for mask in image.found_masks]
            found.pred_masks = torch.tensor(
                np.array(pasted, dtype=bool).reshape(-1, image.height, image.width)
            )
            evaluator.process([{"image_id": image.image_id}], [{"instances": found}])
        return evaluator.evaluate()

    yield run
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def crowded(image, count):
    """So many detections of the first class in one image."""
    scores = np.linspace(0.01, 0.2, count, dtype=np.float32).tolist()
    return [(image, 0, s, i % 40, i // 40, 4 + i % 9, 7) for i, s in enumerate(scores)]


@pytest.mark.parametrize("classes", [1, 2])
def test_the_same_as_detectron2(lesion_set, random_lesions, evaluate, classes):
    lesions, found = random_lesions(seed=7, images=30, classes=classes)
    lesions = lesion_set(lesions, found + crowded(31, 130), images=32, classes=CLASSES[:classes])
    expected = evaluate(lesions, max_detections=200)
    assert list(expected) == ["bbox", "segm", "per_image_ap"]
    for task in ("bbox", "segm"):
        metrics = expected[task]
        found = coco_metrics(run_coco(lesions, task), lesions.class_names)
        assert {name: found[name] for name in metrics} == pytest.approx(metrics, nan_ok=True)
        assert 5 < found["AP"] < 95
    names = {"AP_GGO", "AP_crazy_paving"}
    assert names & set(expected["segm"]) == (names if classes == 2 else set())
    assert not any("-" in name for name in expected["segm"])


def test_more_than_100_detections_of_an_image_count(lesion_set):
    found = [*crowded(1, 120), (1, 0, 0.001, 40, 30, 12, 12)]
    lesions = lesion_set([(1, 0, 40, 30, 12, 12)], found)
    assert coco_metrics(run_coco(lesions, "segm"), ["lesion"])["AP50"] == pytest.approx(100 / 121)


@silent
def test_without_detections_there_are_zeros_where_there_are_lesions(lesion_set, evaluate):
    lesions = lesion_set(
        [(1, 0, 0, 0, 20, 20)], classes=CLASSES, crowds=[(1, 1, 0, 0, 40, 40)], images=2
    )
    expected = {"AP": 0, "AP50": 0, "AP75": 0, "APs": 0, "APm": math.nan, "APl": math.nan}
    expected |= {"AP_GGO": 0, "AP_crazy_paving": math.nan}
    trained = evaluate(lesions)
    for task in ("bbox", "segm"):
        assert trained[task] == pytest.approx(expected, nan_ok=True)
        found = coco_metrics(run_coco(lesions, task), CLASSES)
        assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)
    assert set(evaluate(lesions, masks=False)) == {"bbox"}


@silent
def test_without_lesions_nothing_is_defined(lesion_set, evaluate):
    for detections in ([], [(1, 0, 0.9, 0, 0, 5, 5)]):
        lesions = lesion_set(detections=detections)
        found = coco_metrics(run_coco(lesions, "segm"), ["lesion"])
        assert np.isnan(list(found.values())).all()
        assert np.isnan(list(evaluate(lesions)["segm"].values())).all()
        assert precision_recall(run_coco(lesions, "segm"), ["lesion"]) == {}


def test_fine_ranges_of_areas(lesion_set):
    # 12 x 12 pixels are found, 20 x 20 and 9 x 9 are not.
    truth = [(1, 0, 0, 0, 12, 12), (1, 0, 20, 0, 20, 20), (1, 0, 45, 0, 9, 9)]
    found = coco_metrics(run_coco(lesion_set(truth, [(1, 0, 0.9, 0, 0, 12, 12)]), "segm"), ["a"])
    assert (found["AP_area_100_256"], found["AP_area_256_1024"]) == pytest.approx((100, 0))
    assert found["APs"] == pytest.approx(100 * 34 / 101)  # recall 1/3 is reached at 34 of 101
    assert math.isnan(found["APm"]) and math.isnan(found["APl"])


def test_precision_recall_curves_have_the_area_of_ap(lesion_set, random_lesions):
    lesions, found = random_lesions(seed=5, images=20)
    evaluation = run_coco(lesion_set(lesions, found, images=20), "segm")
    metrics = coco_metrics(evaluation, ["lesion"])
    curves = precision_recall(evaluation, ["lesion"])["lesion"]
    for name in ("AP50", "AP75"):
        recall, precision = np.array(curves[name]).T
        assert recall.tolist() == pytest.approx(np.linspace(0, 1, 101).tolist())
        assert 100 * precision.mean() == pytest.approx(metrics[name])


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_weights_are_copies_of_images(lesion_set, random_lesions, task):
    lesions, found = random_lesions(seed=11, images=25, classes=2)
    crowds = [(2, 0, 0, 0, 30, 30), (3, 1, 5, 5, 30, 30)]
    made = lesion_set(lesions, found, images=25, classes=CLASSES, crowds=crowds)
    statistic = CocoStatistic(made, task)
    rng = np.random.default_rng(0)
    weights = np.stack([np.ones(25), *rng.integers(0, 4, (3, 25))])
    values = statistic(weights)
    for row, weight in enumerate(weights.astype(int)):
        copies = np.repeat(np.arange(1, 26), weight)  # image of each copy; copies are neighbours

        def copied(items, copies=copies):
            return [
                (new, *item[1:])
                for new, old in enumerate(copies, start=1)
                for item in items
                if item[0] == old
            ]

        repeated = lesion_set(
            copied(lesions),
            copied(found),
            images=len(copies),
            classes=CLASSES,
            crowds=copied(crowds),
        )
        expected = coco_metrics(run_coco(repeated, task), CLASSES)
        assert set(values) == {"AP", "AP50", "AP75"} | {
            f"{metric}_{name}" for metric in ("AP", "AP50") for name in ("GGO", "crazy_paving")
        }
        for name in values:
            assert values[name][row] == pytest.approx(expected[name], abs=1e-9)


def test_a_statistic_of_images_without_lesions_is_undefined(lesion_set):
    lesions = lesion_set(
        [(1, 0, 0, 0, 9, 9)], [(1, 0, 0.9, 0, 0, 9, 9), (2, 0, 0.9, 0, 0, 9, 9)], images=2
    )
    values = CocoStatistic(lesions, "segm")(np.array([[1.0, 1], [0, 2], [3, 0]]))
    assert values["AP"].tolist() == pytest.approx([100, math.nan, 100], nan_ok=True)


def test_a_mean_over_classes_is_of_the_same_classes_in_every_resample(lesion_set):
    # GGO is in image 1, C in image 2; the third class has no lesion at all.
    lesions = lesion_set(
        [(1, 0, 0, 0, 9, 9), (2, 1, 0, 0, 9, 9)],
        [(1, 0, 0.9, 0, 0, 9, 9), (1, 2, 0.9, 0, 0, 9, 9)],
        images=2,
        classes=("GGO", "C", "other"),
    )
    statistic = CocoStatistic(lesions, "segm")
    values = statistic(np.array([[1.0, 1], [2, 0], [0, 2]]))
    nan = math.nan
    for name in ("AP", "AP50", "AP75"):
        assert values[name].tolist() == pytest.approx([50, nan, nan], nan_ok=True)
        assert statistic.metrics()[name] == pytest.approx(50)
    assert values["AP_GGO"].tolist() == pytest.approx([100, 100, nan], nan_ok=True)
    assert values["AP50_C"].tolist() == pytest.approx([0, nan, 0], nan_ok=True)
    assert np.isnan(values["AP_other"]).all()


def test_it_leaves_the_truth_as_it_was(lesion_set, write_lesions):
    made = lesion_set([(1, 0, 0, 0, 9, 9)], [(1, 0, 0.9, 0, 0, 9, 9)])
    run_coco(made, "segm")
    again = read_lesions(*write_lesions([(1, 0, 0, 0, 9, 9)])[:1], [])
    assert made.truth.dataset == again.truth.dataset


@silent
def test_ids_from_0_are_matched_in_training_too(evaluate, lesion_set):
    lesions = lesion_set([(1, 0, 4, 6, 10, 8)], [(1, 0, 0.9, 4, 6, 10, 8)])
    lesions.truth.dataset["annotations"][0]["id"] = 0
    found = evaluate(lesions)
    assert found["bbox"]["AP50"] == found["segm"]["AP50"] == pytest.approx(100)
