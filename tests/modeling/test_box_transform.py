import math

import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransform

from ctmasknet.modeling.box_transform import PreciseBox2BoxTransform, PreciseBoxes, by_class

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def test_decoding_by_hand():
    # Centre (10, 20), 4 x 8; moved by 0.5 widths and -0.25 heights, twice as wide.
    box = torch.tensor([[8.0, 16, 12, 24]])
    deltas = torch.tensor([[5.0, -2.5, 5 * math.log(2), 0]])
    decoded = PreciseBox2BoxTransform(WEIGHTS).apply_deltas(deltas, box)
    torch.testing.assert_close(decoded, torch.tensor([[8.0, 14, 16, 22]]))


@pytest.mark.parametrize("classes", [1, 3])
def test_float32_is_detectron2s(classes):
    torch.manual_seed(0)
    corner = torch.rand(50, 2) * 400
    boxes = torch.cat([corner, corner + torch.rand(50, 2) * 60], dim=1)
    deltas = torch.randn(50, 4 * classes) * 20  # some beyond the clamp of width and height
    found = PreciseBox2BoxTransform(WEIGHTS).apply_deltas(deltas, boxes)
    torch.testing.assert_close(found, Box2BoxTransform(WEIGHTS).apply_deltas(deltas, boxes))


@pytest.mark.parametrize(
    ("deltas", "decoded"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
    ],
)
def test_precision_follows_the_network_but_not_below_float32(deltas, decoded):
    boxes = torch.tensor([[0.0, 0, 10, 10]])
    found = PreciseBox2BoxTransform(WEIGHTS).apply_deltas(torch.zeros(1, 4, dtype=deltas), boxes)
    assert found.dtype == decoded


def test_float64_moves_by_less_than_float32_can_tell():
    boxes = torch.tensor([[500.0, 500, 510, 510]])
    deltas = torch.tensor([[1e-8, 0, 0, 0]], dtype=torch.float64)
    found = PreciseBox2BoxTransform(WEIGHTS).apply_deltas(deltas, boxes)
    assert found[0, 0].item() == pytest.approx(500 + 1e-8, abs=1e-12)
    assert PreciseBoxes(found).tensor[0, 0] == found[0, 0]


def test_no_roi():
    empty = PreciseBox2BoxTransform(WEIGHTS).apply_deltas(torch.zeros(0, 8), torch.zeros(0, 4))
    assert empty.shape == (0, 8)
    assert by_class(empty).shape == (0, 2, 4)


def test_indexing_copying_and_moving_boxes_does_not_round_them():
    boxes = PreciseBoxes(torch.tensor([[0, 0, 1 + 1e-12, 2], [1, 1, 3, 3]], dtype=torch.float64))
    for same in (boxes[[0, 1]], boxes.clone(), boxes.to("cpu"), boxes[boxes.nonempty()]):
        assert type(same) is PreciseBoxes and torch.equal(same.tensor, boxes.tensor)
    assert boxes[0].tensor.tolist() == [[0, 0, 1 + 1e-12, 2]]
    assert PreciseBoxes.cat([boxes, boxes]).tensor.dtype == torch.float64
