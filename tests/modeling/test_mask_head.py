import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

from ctmasknet.modeling import MaskLogitHead
from ctmasknet.modeling.mask_head import mask_dice_loss


def head(num_classes):
    torch.manual_seed(0)
    return MaskLogitHead(
        ShapeSpec(channels=4, height=14, width=14), num_classes=num_classes, conv_dims=[8, 8]
    ).eval()


def instances(classes):
    found = Instances((64, 64))
    found.pred_classes = torch.tensor(classes, dtype=torch.int64)
    return found


def test_inference_keeps_logits_of_the_own_class():
    model = head(num_classes=2)
    x = torch.randn(3, 4, 14, 14)
    with torch.no_grad():
        logits = model.layers(x)
        first, second = model(x, [instances([1]), instances([0, 1])])
    assert torch.equal(first.pred_masks, logits[:1, 1:2])
    assert torch.equal(second.pred_masks, torch.stack([logits[1, :1], logits[2, 1:]]))
    assert logits.min() < 0  # a probability could not be


def test_no_instance():
    with torch.no_grad():
        (empty,) = head(1)(torch.zeros(0, 4, 14, 14), [instances([])])
    assert empty.pred_masks.shape == (0, 1, 28, 28)


def rois():
    """Two RoIs whose masks are the left half and nothing."""
    made = Instances((56, 56))
    made.proposal_boxes = Boxes(torch.tensor([[0.0, 0, 28, 28], [28, 28, 56, 56]]))
    made.gt_classes = torch.tensor([0, 1])
    masks = torch.zeros(2, 56, 56, dtype=torch.bool)
    masks[0, :28, :14] = True
    made.gt_masks = BitMasks(masks)
    return made


def test_dice_of_masks_by_hand():
    logits = torch.full((2, 2, 28, 28), -100.0)
    logits[0, 0, :, :14] = 100
    assert mask_dice_loss(logits, [rois()]) < 1e-6
    logits[0, 0] = 100  # all of the box: Dice (2 * 392 + 1) / (392 + 784 + 1)
    expected = 1 - (785 / 1177 + 1) / 2
    torch.testing.assert_close(mask_dice_loss(logits, [rois()]).item(), expected)
    assert mask_dice_loss(torch.zeros(0, 2, 28, 28), []) == 0


def test_dice_joins_the_stock_loss_where_it_is_asked_for():
    x = torch.randn(2, 4, 14, 14)
    model = head(2).train()
    with EventStorage():
        (stock,) = model(x, [rois()]).items()
        model.dice_weight = 0.5
        both = model(x, [rois()])
    assert both["loss_mask"] == stock[1] and set(both) == {"loss_mask", "loss_mask_dice"}
    expected = 0.5 * mask_dice_loss(model.layers(x), [rois()])
    torch.testing.assert_close(both["loss_mask_dice"], expected)
