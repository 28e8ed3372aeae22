"""What each ranked box adds to the class logits, by leaving it out.

Shapes: N ranked boxes, n different ones among them, C image classes.
"""

from dataclasses import replace

import torch
from torch import nn

from .ranked_boxes import RankedBoxes


@torch.no_grad()
def box_contributions(image_head: nn.Module, ranked: RankedBoxes) -> torch.Tensor:
    """Measure how far each class logit falls when a box is taken out.

    Exact, not an approximation by gradients: each box in turn is no longer valid, and its places
    are filled as the fill rule fills places of boxes that are missing, by copies of a neighbour,
    here of the next box and for the last one of the one before. So the ranking holds and all other
    rows stay where they are; filling anew from the top would move them all, and measure that. All
    of it is one batch of n images. A head that reads valid boxes alone sees the set without the
    box.

    Args:
        image_head: maps RankedBoxes of n images to (n, C).
        ranked: of one image.

    Returns:
        (n, C): logits with all boxes minus logits without the box; positive where the box speaks
        for the class. Without the only box the head reads zeros, as for an image without any.
    """
    count = int(ranked.counts)
    with_all = image_head(ranked[None])
    if count == 0:
        return with_all[:0]
    if count == 1:
        return with_all - image_head(ranked.without_boxes()[None])
    ranks = torch.arange(count, device=ranked.valid.device)
    neighbours = ranks + 1
    neighbours[-1] = count - 2
    own = ranked.valid.cumsum(0) - 1  # the box at each place
    left_out = own == ranks[:, None]
    boxes = torch.where(left_out, neighbours[:, None], own)
    return with_all - image_head(ranked.distinct().placed(boxes, ranked.valid & ~left_out))


@torch.no_grad()
def share_of_boxes(image_head: nn.Module, ranked: RankedBoxes) -> torch.Tensor:
    """Say how much of each class logit the boxes explain, and not the image around them.

    Two things are taken out in turn: all boxes, and the global features (zeros in their place). The
    share is how far the logit moves without the boxes, of both moves together.

    Args:
        image_head: maps RankedBoxes of n images to (n, C).
        ranked: of one image.

    Returns:
        (C,) in [0, 1]; 1 for a head without global features, 0 where neither moves the logit.
    """
    with_all = image_head(ranked[None])[0]
    if ranked.global_features is None:
        return torch.ones_like(with_all)
    whole = replace(ranked, global_features=torch.zeros_like(ranked.global_features))
    boxes = (with_all - image_head(ranked.without_boxes()[None])[0]).abs()
    around = (with_all - image_head(whole[None])[0]).abs()
    return boxes / (boxes + around).clamp(min=torch.finfo(boxes.dtype).tiny)
