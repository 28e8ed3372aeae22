"""What each ranked box adds to the class logits, by leaving it out.

Shapes: N ranked boxes, n different ones among them, D numbers in a row, C image classes.
"""

import torch
from torch import nn

from .ranked_boxes import RankedBoxes, fill_positions, first_places


@torch.no_grad()
def box_contributions(image_head: nn.Module, ranked: RankedBoxes) -> torch.Tensor:
    """Measure how far each class logit falls when a box had not been found.

    Exact, not an approximation by gradients: each box is taken out in turn, the boxes after it
    move up, the rest is filled to N rows as at inference, and the image head reads the result.
    All of it is one batch of n ranked tensors.

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
    own = ranked.rows[first_places(count, num).to(ranked.rows.device)]
    if count == 1:
        without = torch.zeros_like(ranked.rows)[None]
    else:
        ranks = torch.arange(count)
        others = ranks.expand(count, -1)[~torch.eye(count, dtype=torch.bool)]
        kept = others.reshape(count, count - 1)[:, fill_positions(count - 1, num)]
        without = own[kept.to(own.device)]
    return with_all - image_head(without)
