"""What each ranked box adds to the class logits, by leaving it out.

Shapes: N ranked boxes, n different ones among them, D numbers in a row, C image classes.
"""

import torch
from torch import nn

from .ranked_boxes import RankedBoxes, fill_positions


@torch.no_grad()
def box_contributions(image_head: nn.Module, ranked: RankedBoxes) -> torch.Tensor:
    """Measure how far each class logit falls when a box is taken out.

    Exact, not an approximation by gradients: the rows of each box in turn are replaced as the fill
    rule replaces boxes that are missing, by copies of a neighbour, here of the next box and for the
    last one of the one before. So the ranking holds and all other rows stay where they are; filling
    anew from the top would move them all, and measure that. All of it is one batch of n ranked
    tensors.

    Args:
        image_head: maps (n, N, D) to (n, C).
        ranked: of one image, as at inference: rows (N, D), evenly filled.

    Returns:
        (n, C): logits with all boxes minus logits without the box; positive where the box speaks
        for the class. Without the only box the head reads zeros, as for an image without any.
    """
    num, count = len(ranked.rows), int(ranked.counts)
    with_all = image_head(ranked.rows[None])
    if count == 0:
        return with_all[:0]
    if count == 1:
        return with_all - image_head(torch.zeros_like(ranked.rows)[None])
    ranks = torch.arange(count)
    neighbours = ranks + 1
    neighbours[-1] = count - 2
    filled = fill_positions(count, num).expand(count, num)
    filled = torch.where(filled == ranks[:, None], neighbours[:, None], filled)
    own = ranked.distinct()
    return with_all - image_head(own[filled.to(own.device)])
