import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import Instances

from ctmasknet.modeling import MaskLogitHead, mask_head


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


def test_parts_of_the_instances_are_the_whole(monkeypatch):
    model, x = head(num_classes=2), torch.randn(5, 4, 14, 14)
    classes = [instances([1, 0]), instances([]), instances([0, 1, 1])]
    with torch.no_grad():
        whole = [own.pred_masks for own in model(x, classes)]
        sizes, layers = [], model.layers
        monkeypatch.setattr(
            model, "layers", lambda part: (sizes.append(len(part)), layers(part))[1]
        )
        monkeypatch.setattr(mask_head, "_MEMORY", 2 * 4 * 8 * 14 * 14 * 4)  # of two
        parts = [own.pred_masks for own in model(x, classes)]
    assert sizes == [2, 2, 1]
    for own, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-6)


def test_no_instance():
    with torch.no_grad():
        (empty,) = head(1)(torch.zeros(0, 4, 14, 14), [instances([])])
    assert empty.pred_masks.shape == (0, 1, 28, 28)
