import pytest
import torch
from torchvision.ops import batched_nms

from ctmasknet.fast.nms import nms_best_first
from ctmasknet.modeling import box_selection
from ctmasknet.modeling.box_selection import nms


def crowd(count, seed):
    """Boxes of which many overlap, and scores with ties."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + 10 + torch.rand(count, 2, generator=generator) * 20], dim=1)
    scores = torch.rand(count, generator=generator).mul(20).round()
    return boxes, scores, torch.randint(0, 3, (count,), generator=generator)


def whole(boxes, scores, groups, thresh, num):
    """torchvision's on one image, ties in the order of boxes."""
    order = scores.sort(descending=True, stable=True).indices
    ranks = torch.arange(len(order), 0, -1).float()
    kept = batched_nms(boxes[order], ranks, groups[order], thresh)
    return order[kept][:num]


@pytest.mark.parametrize("function", [nms, nms_best_first])
@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("num", [None, 1, 7, 60, 1000])
def test_a_batch_is_its_images(function, grouped, num):
    images = [crowd(300, 0), crowd(0, 1), crowd(40, 2)]
    boxes, scores, groups = (list(part) for part in zip(*images, strict=True))
    if not grouped:
        groups = [torch.zeros_like(own) for own in groups]
    expected = [whole(*image, 0.4, num) for image in zip(boxes, scores, groups, strict=True)]
    assert 20 < len(whole(boxes[0], scores[0], groups[0], 0.4, None)) < 250
    found = [function(*image, 0.4, num) for image in zip(boxes, scores, groups, strict=True)]
    assert [x.tolist() for x in found] == [x.tolist() for x in expected]


def test_the_first_survivors_need_few_boxes(monkeypatch):
    seen = []
    monkeypatch.setattr(
        box_selection,
        "batched_nms",
        lambda boxes, *args: seen.append(len(boxes)) or batched_nms(boxes, *args),
    )
    group = torch.zeros(1000, dtype=torch.int64)
    boxes = torch.arange(1000.0)[:, None] * 20 + torch.tensor([0.0, 0, 10, 10])
    kept = nms_best_first(boxes, torch.zeros(1000), group, 0.5, 5)
    assert kept.tolist() == [0, 1, 2, 3, 4] and seen == [10]
    same = boxes[:1].expand(30, 4)  # one survivor: all must be looked at
    kept = nms_best_first(same, torch.zeros(30), group[:30], 0.5, 5)
    assert kept.tolist() == [0] and seen[1:] == [10, 20, 30]
