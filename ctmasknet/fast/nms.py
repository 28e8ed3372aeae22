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
    if groups is not None:
        groups = [own[order] for own, order in zip(groups, orders, strict=True)]
    if boxes[0].is_cuda:
        kept = _at_once(boxes, groups, thresh, num)
    else:
        kept = [
            _one(own, groups[i] if groups else None, thresh, num) for i, own in enumerate(boxes)
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
    boxes: list[torch.Tensor], groups: list[torch.Tensor] | None, thresh: float, num: int | None
) -> list[torch.Tensor]:
    """As `_one` for a batch, with one wait for the device instead of one for each image."""
    sizes = [len(own) for own in boxes]
    starts = [0, *accumulate(sizes)]
    device = boxes[0].device
    images = torch.arange(len(sizes), device=device).repeat_interleave(
        torch.tensor(sizes, device=device), output_size=starts[-1]
    )
    part = images if groups is None else torch.cat(groups) * len(sizes) + images
    # Moved apart, boxes of different images and groups never meet; float64 rounds nothing then.
    flat = torch.cat(boxes).double()
    apart = flat + (part * (flat.max() - flat.min() + 1))[:, None] if len(flat) else flat
    ranks = torch.arange(starts[-1], 0, -1, dtype=torch.float64, device=device)
    kept = nms(apart, ranks, thresh)  # by image, and within it as sorted before
    counts = torch.bincount(images[kept], minlength=len(sizes)).tolist()
    return [(own - start)[:num] for own, start in zip(kept.split(counts), starts, strict=False)]


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
