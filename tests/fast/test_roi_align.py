from types import SimpleNamespace

import pytest
import torch
from detectron2.layers import ROIAlign
from torch import nn

from ctmasknet.fast import roi_align
from ctmasknet.fast.projected_roi_align import project_and_pool, projecting_wins
from ctmasknet.fast.roi_align import MAX_CELLS, separable_roi_align
from ctmasknet.modeling.roi_heads import PreciseROIAlign

# Inside, tiny, without area, larger than the image, across each border, wholly outside.
BOXES = [
    [10, 12, 40, 60], [30, 30, 30.5, 31], [20, 20, 20, 20], [-50, -60, 200, 300],
    [-20, 5, 10, 30], [70, 5, 130, 30], [5, -20, 30, 10], [5, 80, 30, 140],
    [-90, -90, -60, -60], [300, 300, 340, 340], [95, 63, 96, 64],
]  # fmt: skip


def separable(*args):
    align = PreciseROIAlign(*args)
    separable_roi_align(SimpleNamespace(roi_heads=align))
    return align


def rois(dtype=torch.float64):
    """Of two images, in no order."""
    image = torch.arange(len(BOXES)).remainder(2)[:, None]
    return torch.cat([image, torch.tensor(BOXES)], dim=1).to(dtype)


def features(dtype=torch.float64, size=(8, 12)):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 5, *size, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("bins", "ratio"), [((7, 7), 2), ((14, 14), 2), ((3, 5), 1), ((1, 1), 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_values_and_gradients_are_torchvisions(aligned, bins, ratio, dtype, tolerance):
    results = []
    for kind in (ROIAlign, separable):
        x = features(dtype).requires_grad_()
        pooled = kind(bins, 1 / 8, ratio, aligned)(x, rois(dtype))
        assert pooled.shape == (len(BOXES), 5, *bins) and pooled.dtype == dtype
        weights = torch.linspace(0, 1, pooled.numel(), dtype=dtype).view(pooled.shape)
        (pooled * weights).sum().backward()
        results.append((pooled.detach(), x.grad))
    assert results[0][0].std() > 0.1 and results[0][1].std() > 0.01
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_many_rois_are_pooled_in_parts():
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(500, 2, generator=generator) * 400
    size = torch.rand(500, 2, generator=generator) * 100
    many = torch.cat([torch.zeros(500, 1), corner, corner + size], dim=1)
    x = torch.rand(1, 256, 32, 32, generator=generator)
    ours = separable((7, 7), 1 / 16, 2)(x, many)
    torch.testing.assert_close(ours, ROIAlign((7, 7), 1 / 16, 2)(x, many), rtol=0, atol=1e-5)


def test_no_roi_belongs_to_the_graph():
    x = features().requires_grad_()
    pooled = separable((7, 7), 1 / 8, 2)(x, rois()[:0])
    assert pooled.shape == (0, 5, 7, 7)
    pooled.sum().backward()
    assert x.grad.abs().sum() == 0


def test_half_precision_does_not_round_coordinates():
    # bfloat16 holds 301 as 302: a quarter of a cell.
    at = torch.tensor([[0.0, 301, 301, 309, 309]])
    ramp = torch.arange(64.0)[None, None, None].expand(1, 1, 64, 64)
    for size in (64, 65):  # by matrices, and by torchvision
        x = torch.nn.functional.pad(ramp, (0, size - 64, 0, size - 64)).bfloat16()
        pooled = separable((1, 1), 1 / 8, 2)(x, at)
        assert pooled.dtype == torch.bfloat16 and abs(pooled.item() - (305 / 8 - 0.5)) < 0.2


@pytest.mark.parametrize(("ratio", "side"), [(0, 8), (2, 65)])
def test_what_matrices_cannot_or_should_not_do_is_torchvisions(monkeypatch, ratio, side):
    assert side * side > MAX_CELLS or ratio == 0
    monkeypatch.delattr(roi_align, "_by_matrices")
    x = features(size=(side, side))
    pooled = separable((7, 7), 1 / 8, ratio)(x, rois())
    torch.testing.assert_close(pooled, ROIAlign((7, 7), 1 / 8, ratio)(x, rois()))


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("bins", "ratio"), [((7, 7), 2), ((2, 2), 3)])
def test_pooling_and_the_first_layer_may_change_places(aligned, bins, ratio):
    torch.manual_seed(0)
    align = separable(bins, 1 / 8, ratio, aligned)
    layer = nn.Linear(5 * bins[0] * bins[1], 6).double()
    at = rois()  # the one far outside is of the first of two images
    at[-2, 0] = 0
    results = []
    for projected in (False, True):
        x = features().requires_grad_()
        layer.zero_grad()
        hidden = (
            project_and_pool(x, at, align, layer) if projected else layer(align(x, at).flatten(1))
        )
        (hidden * torch.linspace(0, 1, hidden.numel()).view(hidden.shape)).sum().backward()
        results.append(
            (hidden.detach(), x.grad, layer.weight.grad.clone(), layer.bias.grad.clone())
        )
    for usual, other in zip(*results, strict=True):
        torch.testing.assert_close(other, usual, rtol=1e-9, atol=1e-9)


def test_half_precision_rounds_the_table_but_not_the_sum_over_it():
    torch.manual_seed(0)
    align, layer = separable((7, 7), 1 / 8, 2), nn.Linear(5 * 49, 6)
    x, at = features(torch.float32), rois(torch.float32)
    with torch.no_grad():
        exact = project_and_pool(x, at, align, layer)
        found = project_and_pool(x.bfloat16(), at, align, layer)
    assert found.dtype == torch.bfloat16
    assert (found - exact).abs().max() < 0.02 * exact.abs().max()


def test_an_image_without_roi_and_none_at_all_may_be_projected():
    align, layer = separable((7, 7), 1 / 8, 2), nn.Linear(5 * 49, 6).double()
    for chosen in (rois()[:, 0] == 1, rois()[:, 0] == 2):
        at = rois()[chosen]
        hidden = project_and_pool(features(), at, align, layer)
        torch.testing.assert_close(hidden, layer(align(features(), at).flatten(1)))


def test_the_order_is_chosen_by_shape():
    align = separable((7, 7), 1 / 16, 2)
    assert projecting_wins(1000, torch.Size([1, 256, 32, 32]), align, 128)
    assert not projecting_wins(128, torch.Size([1, 256, 32, 32]), align, 128)
    assert not projecting_wins(1000, torch.Size([8, 256, 32, 32]), align, 128)  # 125 an image
    assert projecting_wins(8000, torch.Size([8, 256, 32, 32]), align, 128)
    # Above, pooling is torchvision's, whose cost does not grow with the map.
    assert projecting_wins(1000, torch.Size([1, 256, 64, 64]), align, 128)
    assert not projecting_wins(10000, torch.Size([1, 256, 64, 65]), align, 128)
