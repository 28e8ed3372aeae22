import json

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import Boxes, Instances

from ctmasknet.evaluation import LesionEvaluator, image_average_precision
from ctmasknet.evaluation.coco_ap import coco_metrics, run_coco
from ctmasknet.evaluation.lesion_report import LesionReportSettings
from ctmasknet.evaluation.per_image_ap import IOU_THRESHOLDS, PerImageAPStatistic

ONE = np.zeros(1, dtype=int)
HALF = [0.5]


def test_iou_of_exactly_one_half_is_no_match():
    assert image_average_precision([[0.5]], [0.9], ONE, ONE, HALF) == [0]
    assert image_average_precision([[0.5001]], [0.9], ONE, ONE, HALF) == [1]


def test_of_two_detections_of_one_lesion_the_better_overlap_counts():
    # The confident one overlaps less: first a false positive, then the match. COCO would give 1.
    ious = [[0.6], [0.8]]
    assert image_average_precision(ious, [0.9, 0.8], [0, 0], ONE, HALF) == [0.5]
    assert image_average_precision(ious, [0.8, 0.9], [0, 0], ONE, HALF) == [1]


@pytest.mark.parametrize(("detections", "lesions", "ap"), [(0, 0, 1), (0, 2, 0), (2, 0, 0)])
def test_empty_images(detections, lesions, ap):
    value = image_average_precision(
        np.zeros((detections, lesions)), np.ones(detections), [0] * detections, [0] * lesions
    )
    assert value.tolist() == [ap] * 10


def test_a_detection_of_another_class_is_no_match():
    ious = [[0.9, 0.0], [0.0, 0.9]]
    assert image_average_precision(ious, [0.9, 0.8], [0, 1], [0, 1], HALF) == [1]
    # The second lesion is found as the wrong class: one match of two, at rank one.
    assert image_average_precision(ious, [0.9, 0.8], [0, 0], [0, 1], HALF) == [0.5]


def test_precision_is_interpolated_from_the_right():
    # By score: match, miss, match. Recall 1/2 at precision 1, recall 1 at precision 2/3.
    ious = [[0.9, 0], [0, 0], [0, 0.9]]
    value = image_average_precision(ious, [0.9, 0.8, 0.7], [0, 0, 0], [0, 0], HALF)
    assert value == pytest.approx([(1 + 2 / 3) / 2])


@pytest.fixture
def dataset(tmp_path):
    """Two images of 20 x 20: one lesion in the first, none in the second."""
    mask = np.zeros((20, 20), np.uint8)
    mask[2:12, 2:13] = 1
    rle = mask_util.encode(np.asfortranarray(mask))
    lesion = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "segmentation": {"size": [20, 20], "counts": rle["counts"].decode()},
        "area": 110,
        "bbox": [2, 2, 11, 10],
        "iscrowd": 0,
    }
    images = [{"id": i, "file_name": f"{i}.png", "height": 20, "width": 20} for i in (1, 2)]
    path = tmp_path / "truth.json"
    categories = [{"id": 1, "name": "lesion"}]
    path.write_text(
        json.dumps({"images": images, "annotations": [lesion], "categories": categories})
    )
    name = f"per_image_ap_{tmp_path.name}"
    register_coco_instances(name, {}, str(path), str(tmp_path))
    DatasetCatalog.get(name)  # fills the metadata's class mapping, as a data loader does
    yield name, mask.astype(bool)
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def output(masks, scores):
    found = Instances((20, 20))
    found.pred_masks = torch.tensor(np.array(masks, dtype=bool).reshape(-1, 20, 20))
    found.scores = torch.tensor(scores, dtype=torch.float)
    found.pred_classes = torch.zeros(len(scores), dtype=torch.int64)
    found.pred_boxes = Boxes(torch.zeros(len(scores), 4))
    return {"instances": found}


@pytest.fixture
def evaluate(tmp_path):
    def evaluate(name, outputs, **options):
        settings = LesionReportSettings(**options)
        evaluator = LesionEvaluator(name, str(tmp_path / "out"), True, 100, settings)
        evaluator.reset()
        evaluator.process([{"image_id": 1}, {"image_id": 2}], outputs)
        return evaluator.evaluate()["per_image_ap"]

    return evaluate


def test_a_silent_detector_gets_the_share_of_lesion_free_images(dataset, evaluate):
    metrics = evaluate(dataset[0], [output([], []), output([], [])])
    assert metrics["mAP"] == metrics["silent_detector"] == 0.5
    assert metrics["mAP_lesion_images"] == 0


def test_perfect_detections_and_the_score_threshold(dataset, evaluate):
    name, mask = dataset
    # A second detection scores 0.75, which is not above the threshold.
    metrics = evaluate(name, [output([mask, ~mask], [0.9, 0.75]), output([], [])])
    assert metrics["AP50"] == metrics["mAP"] == metrics["mAP_lesion_images"] == 1
    metrics = evaluate(name, [output([mask], [0.9]), output([mask], [0.9])])
    assert metrics["mAP"] == 0.5


def test_lesions_of_at_most_the_minimum_area_are_background(dataset, evaluate):
    metrics = evaluate(dataset[0], [output([], []), output([], [])], min_area=110)
    assert metrics["silent_detector"] == metrics["mAP"] == 1
    assert np.isnan(metrics["mAP_lesion_images"])


def test_crowds_are_no_lesions_and_the_surest_detections_count(dataset, evaluate, tmp_path):
    name, mask = dataset
    truth = json.loads((tmp_path / "truth.json").read_text())
    truth["annotations"][0]["iscrowd"] = 1
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    assert evaluate(name, [output([], []), output([], [])])["silent_detector"] == 1
    truth["annotations"][0]["iscrowd"] = 0
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    found = [output([~mask, mask], [0.8, 0.9]), output([], [])]
    assert evaluate(name, found, max_detections=1)["AP50"] == 1
    found = [output([~mask, mask], [0.9, 0.8]), output([], [])]
    assert evaluate(name, found, max_detections=1)["AP50"] == 0.5


def test_metrics_are_named_after_the_thresholds_and_always_logged(dataset, evaluate, caplog):
    name, mask = dataset
    with caplog.at_level("INFO"):
        metrics = evaluate(
            name, [output([mask], [0.9]), output([], [])], iou_thresholds=(0.3, 0.75)
        )
    assert list(metrics) == [
        *("AP75", "mAP", "AP75_lesion_images", "mAP_lesion_images", "silent_detector")
    ]
    assert "share of images without lesions, 0.5000;" in caplog.text
    assert "mAP over the images with lesions is 1.0000" in caplog.text


def one_image(lesion_set, lesion, *detections):
    """Per-image AP50 and COCO's, of one lesion."""
    found = lesion_set([(1, 0, *lesion)], [(1, 0, score, *box) for score, *box in detections])
    coco = coco_metrics(run_coco(found, "segm"), ["lesion"])
    return PerImageAPStatistic(found, min_area=0).columns["AP50"][0], coco["AP50"]


def test_where_it_differs_from_coco(lesion_set):
    # IoU of exactly one half.
    assert one_image(lesion_set, (0, 0, 10, 10), (0.9, 0, 0, 20, 10)) == pytest.approx((0, 100))
    # Two detections of one lesion: IoU 0.6 at the higher score, 0.8 at the lower.
    pair = (0.9, 0, 0, 6, 10), (0.8, 0, 0, 8, 10)
    assert one_image(lesion_set, (0, 0, 10, 10), *pair) == pytest.approx((0.5, 100))


def slow_ap(true, found, threshold):
    """Steps 3 to 6 of the definition; true: (class, pixels), found: (score, class, pixels)."""
    if not true or not found:
        return float(not true and not found)
    found = sorted(found, key=lambda x: -x[0])
    matched = [False] * len(found)
    for label, pixels in true:
        best, which = threshold, None
        for d, (_, found_label, found_pixels) in enumerate(found):
            iou = len(pixels & found_pixels) / len(pixels | found_pixels)
            if found_label == label and iou > best:
                best, which = iou, d
        if which is not None:
            matched[which] = True
    precisions = [sum(matched[: d + 1]) / (d + 1) for d in range(len(found))]
    recalls = [sum(matched[: d + 1]) / len(true) for d in range(len(found))]
    ap, reached = 0.0, 0.0
    for d, recall in enumerate(recalls):
        ap += (recall - reached) * max(precisions[d:])
        reached = recall
    return ap


def pixels_of(rle):
    return set(zip(*(x.tolist() for x in np.nonzero(mask_util.decode(rle))), strict=True))


@pytest.mark.parametrize("classes", [1, 2])
def test_random_images_agree_with_a_slow_computation(lesion_set, random_lesions, classes):
    lesions, found = random_lesions(seed=classes, images=150, classes=classes)
    lesions = lesion_set(lesions, found, images=150, classes=("GGO", "C")[:classes])
    statistic = PerImageAPStatistic(lesions, score_thresh=0.3, min_area=100, max_detections=3)
    expected = []
    for image in lesions.images:
        true = [
            (label, pixels_of(mask))
            for label, mask in zip(image.true_classes, image.true_masks, strict=True)
        ]
        found = [
            (score, label, pixels_of(mask))
            for score, label, mask in zip(
                image.scores, image.found_classes, image.found_masks, strict=True
            )
        ]
        true = [item for item in true if len(item[1]) > 100]
        found = [item for item in found if item[0] > 0.3][:3]
        expected.append([slow_ap(true, found, t) for t in IOU_THRESHOLDS])
    expected = np.array(expected)
    assert 0.05 < expected.mean() < 0.95
    assert statistic.columns["AP50"] == pytest.approx(expected[:, 0])
    assert statistic.columns["AP75"] == pytest.approx(expected[:, 5])
    assert statistic.columns["mAP"] == pytest.approx(expected.mean(axis=1))


def test_weights_are_copies_of_images(lesion_set):
    # AP 1, 0 (missed) and 1 (no lesion).
    lesions = lesion_set(
        [(1, 0, 0, 0, 20, 20), (2, 0, 0, 0, 20, 20)], [(1, 0, 0.9, 0, 0, 20, 20)], images=3
    )
    found = PerImageAPStatistic(lesions)(np.array([[1.0, 1, 1], [0, 3, 1], [0, 0, 2]]))
    assert found["mAP"].tolist() == pytest.approx([2 / 3, 1 / 4, 1])
    assert found["silent_detector"].tolist() == pytest.approx([1 / 3, 1 / 4, 1])
    assert found["AP50_lesion_images"].tolist() == pytest.approx([1 / 2, 0, np.nan], nan_ok=True)
