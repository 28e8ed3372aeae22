"""Non-maximum suppression for the images of a batch.

Shapes: B images, n boxes of one of them.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torchvision.ops import batched_nms, nms


def nms_by_image(
    boxes: list[torch.Tensor],
    scores: list[torch.Tensor],
    groups: list[torch.Tensor] | None,
    thresh: float,
    num: int | None = None,
) -> list[torch.Tensor]:
    """Drop, in each image, boxes that overlap a better one.

    Args:
        boxes: B tensors (n, 4), x0 y0 x1 y1 in pixels.
        scores: B tensors (n,).
        groups: B tensors (n,) int64 >= 0: boxes of different groups leave each other alone. None:
            all are of one group.
        thresh: IoU above which the lower-scored box goes.
        num: the most boxes to keep of an image; None keeps all.

    Returns:
        B tensors of int64 indices, best first; equal scores keep the order of boxes.
    """
    orders = [own.sort(descending=True, stable=True).indices for own in scores]
    boxes = [own[order] for own, order in zip(boxes, orders, strict=True)]
    if groups is None:
        groups = [order.new_zeros(len(order)) for order in orders]
        single = True
    else:
        groups = [own[order] for own, order in zip(groups, orders, strict=True)]
        single = False
    if boxes[0].is_cuda:
        kept = _at_once(boxes, groups, thresh, num)
    else:
        kept = [
            _one(own, None if single else group, thresh, num)
            for own, group in zip(boxes, groups, strict=True)
        ]
    return [order[mine] for order, mine in zip(orders, kept, strict=True)]


def _one(
    boxes: torch.Tensor, groups: torch.Tensor | None, thresh: float, num: int | None
) -> torch.Tensor:
    """Places kept of boxes that are sorted by score.

    A box falls to better ones alone, so the first `num` survivors are found among the first boxes,
    and the time of NMS grows with their square: begin with few.
    """
    count = len(boxes)
    tried = count if num is None else min(count, 2 * num)
    while True:
        first = boxes[:tried]
        ranks = torch.arange(tried, 0, -1, dtype=first.dtype)
        kept = (
            nms(first, ranks, thresh)
            if groups is None
            else batched_nms(first, ranks, groups[:tried], thresh)
        )
        if tried == count or num is not None and len(kept) >= num:
            return kept[:num]
        tried = min(count, 2 * tried)


def _at_once(
    boxes: list[torch.Tensor], groups: list[torch.Tensor], thresh: float, num: int | None
) -> list[torch.Tensor]:
    """As `_one` for a batch, with one wait for the device instead of one for each image."""
    sizes = [len(own) for own in boxes]
    device = boxes[0].device
    images = torch.arange(len(sizes), device=device).repeat_interleave(
        torch.tensor(sizes, device=device), output_size=sum(sizes)
    )
    flat, offsets = torch.cat(groups), [0, *accumulate(sizes)]
    ranks = -torch.cat([torch.arange(size, device=device) for size in sizes]).to(boxes[0].dtype)
    kept = batched_nms(torch.cat(boxes), ranks, flat * len(sizes) + images, thresh)
    # By image, and within it as sorted before.
    kept = kept.sort().values
    counts = torch.bincount(images[kept], minlength=len(sizes)).tolist()
    return [(own - offset)[:num] for own, offset in zip(kept.split(counts), offsets, strict=False)]


def nonzero_by_image(masks: Sequence[torch.Tensor] | torch.Tensor) -> list[torch.Tensor]:
    """Where each image's mask is true: B tensors of int64, with one wait for the device.

    Args:
        masks: B tensors (n,) bool, or one (B, n).
    """
    starts = [0, *accumulate(len(mask) for mask in masks)]
    flat = masks.flatten() if isinstance(masks, torch.Tensor) else torch.cat(list(masks))
    counts = torch.stack([mask.sum() for mask in masks]).tolist()
    places = flat.nonzero_static(size=sum(counts))[:, 0]
    return [own - start for own, start in zip(places.split(counts), starts, strict=False)]
