import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import Instances

from ctmasknet.modeling import MaskLogitHead


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
