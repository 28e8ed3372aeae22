import json

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import Boxes, Instances

from ctmasknet.evaluation import PerImageAPEvaluator, image_average_precision

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


def evaluate(name, outputs, **options):
    evaluator = PerImageAPEvaluator(name, **options)
    evaluator.reset()
    evaluator.process([{"image_id": 1}, {"image_id": 2}], outputs)
    return evaluator.evaluate()["per_image_ap"]


def test_a_silent_detector_gets_the_share_of_lesion_free_images(dataset):
    metrics = evaluate(dataset[0], [output([], []), output([], [])])
    assert metrics["mAP"] == metrics["silent_detector"] == 0.5
    assert metrics["mAP_lesion_images"] == 0


def test_perfect_detections_and_the_score_threshold(dataset):
    name, mask = dataset
    # A second detection scores 0.75, which is not above the threshold.
    metrics = evaluate(name, [output([mask, ~mask], [0.9, 0.75]), output([], [])])
    assert metrics["AP50"] == metrics["mAP"] == metrics["mAP_lesion_images"] == 1
    metrics = evaluate(name, [output([mask], [0.9]), output([mask], [0.9])])
    assert metrics["mAP"] == 0.5


def test_lesions_of_at_most_the_minimum_area_are_background(dataset):
    metrics = evaluate(dataset[0], [output([], []), output([], [])], min_area=110)
    assert metrics["silent_detector"] == metrics["mAP"] == 1
    assert np.isnan(metrics["mAP_lesion_images"])
