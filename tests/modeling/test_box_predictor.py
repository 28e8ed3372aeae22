import pytest
import torch
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference
from detectron2.structures import Boxes, Instances
from tiny_models import tiny_model

from ctmasknet.modeling.finite import NotFiniteError


def predictor(*opts, classes=2):
    both = ("MODEL.ROI_HEADS.NUM_CLASSES", classes)
    return tiny_model("lesion", *both, *opts).roi_heads.box_predictor.eval()


def scene(classes=2, rois=40, seed=0):
    """Proposals of one image with scores and deltas of all sizes."""
    torch.manual_seed(seed)
    corner = torch.rand(rois, 2) * 50
    boxes = torch.cat([corner, corner + 4 + torch.rand(rois, 2) * 20], dim=1)
    proposals = [Instances((64, 64), proposal_boxes=Boxes(boxes))]
    return (torch.randn(rois, classes + 1) * 3, torch.randn(rois, 4 * classes)), proposals


def test_detections_are_detectron2s():
    model = predictor()
    predictions, proposals = scene()
    (found,), (rois,) = model.inference(predictions, proposals)
    (expected,), (expected_rois,) = fast_rcnn_inference(
        model.predict_boxes(predictions, proposals),
        model.predict_probs(predictions, proposals),
        [(64, 64)],
        model.test_score_thresh,
        model.test_nms_thresh,
        model.test_topk_per_image,
    )
    assert len(found) > 10
    torch.testing.assert_close(found.pred_boxes.tensor, expected.pred_boxes.tensor)
    torch.testing.assert_close(found.scores, expected.scores)
    assert torch.equal(found.pred_classes, expected.pred_classes)
    assert torch.equal(rois, expected_rois)


def test_boxes_without_area_take_no_place():
    model = predictor("TEST.DETECTIONS_PER_IMAGE", 1, classes=1)
    boxes = Boxes(torch.tensor([[70.0, 0, 90, 20], [0, 0, 20, 20]]))  # the first lies outside
    proposals = [Instances((64, 64), proposal_boxes=boxes)]
    predictions = (torch.tensor([[5.0, 0], [2.0, 0]]), torch.zeros(2, 4))
    (found,), (rois,) = model.inference(predictions, proposals)
    assert rois.tolist() == [1] and found.pred_boxes.tensor.tolist() == [[0, 0, 20, 20]]


def test_sigmoid_scores_each_class_by_its_own_logit():
    model = predictor("MODEL.ROI_BOX_HEAD.SCORE", "sigmoid")
    predictions, proposals = scene()
    (probs,) = model.predict_probs(predictions, proposals)
    torch.testing.assert_close(probs, 1 / (1 + (-predictions[0]).exp()))
    (softmax,) = predictor().predict_probs(predictions, proposals)
    torch.testing.assert_close(softmax.sum(dim=1), torch.ones(40))


def test_unknown_score_names_the_valid_ones():
    with pytest.raises(ValueError, match="'tanh'; valid are softmax, sigmoid"):
        predictor("MODEL.ROI_BOX_HEAD.SCORE", "tanh")


@pytest.mark.parametrize("part", [0, 1], ids=["scores", "deltas"])
def test_infinity_names_its_image(part):
    (scores, deltas), proposals = scene()
    predictions = (torch.cat([scores, scores]), torch.cat([deltas, deltas]))
    predictions[part][60, 0] = float("inf")
    with pytest.raises(NotFiniteError) as error:
        predictor().inference(predictions, proposals * 2)
    assert error.value.image == 1
