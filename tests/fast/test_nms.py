import pytest
import torch
from torchvision.ops import batched_nms, nms

from ctmasknet.fast import nms as module
from ctmasknet.fast.nms import nms_by_image, nonzero_by_image


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


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("num", [None, 1, 7, 60, 1000])
def test_a_batch_is_its_images(grouped, num):
    images = [crowd(300, 0), crowd(0, 1), crowd(40, 2)]
    boxes, scores, groups = (list(part) for part in zip(*images, strict=True))
    if not grouped:
        groups = [torch.zeros_like(own) for own in groups]
    expected = [whole(*image, 0.4, num) for image in zip(boxes, scores, groups, strict=True)]
    assert 20 < len(whole(boxes[0], scores[0], groups[0], 0.4, None)) < 250
    found = nms_by_image(boxes, scores, groups if grouped else None, 0.4, num)
    assert [x.tolist() for x in found] == [x.tolist() for x in expected]


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("num", [None, 5])
def test_all_images_in_one_call_are_each_alone(grouped, num):
    """As on a GPU: of many images, none sees its place in the batch."""
    images = [crowd(count, seed) for seed, count in enumerate([60, 0, 90, *[30] * 40])]
    boxes, groups = [own * 10 for own, *_ in images], [group for *_, group in images]
    kept = module._at_once(boxes, groups if grouped else None, 0.4, num)
    for own, group, mine in zip(boxes, groups, kept, strict=True):
        ranks = torch.arange(len(own), 0, -1).double()
        apart = own.double() + (group * 10000 * grouped)[:, None]
        assert mine.tolist() == nms(apart, ranks, 0.4)[:num].tolist()


def test_the_first_survivors_need_few_boxes(monkeypatch):
    seen = []
    plain = module.nms
    monkeypatch.setattr(
        module, "nms", lambda boxes, *args: seen.append(len(boxes)) or plain(boxes, *args)
    )
    boxes = torch.arange(1000.0)[:, None] * 20 + torch.tensor([0.0, 0, 10, 10])
    (kept,) = nms_by_image([boxes], [torch.zeros(1000)], None, 0.5, 5)
    assert kept.tolist() == [0, 1, 2, 3, 4] and seen == [10]
    same = boxes[:1].expand(30, 4)  # one survivor: all must be looked at
    (kept,) = nms_by_image([same], [torch.zeros(30)], None, 0.5, 5)
    assert kept.tolist() == [0] and seen[1:] == [10, 20, 30]


def test_true_places_of_each_image():
    masks = [torch.tensor([True, False, True]), torch.zeros(0, dtype=torch.bool), torch.ones(2) > 0]
    assert [x.tolist() for x in nonzero_by_image(masks)] == [[0, 2], [], [0, 1]]
    assert [x.tolist() for x in nonzero_by_image(torch.eye(2) > 0)] == [[0], [1]]
