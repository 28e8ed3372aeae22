"""From a set of vectors to one, whatever their number.

Shapes: B sets of N places, of which some are valid, vectors of X numbers.
"""

import torch
from torch import nn


def masked_mean(x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return the mean (B, X) of the valid ones among (B, N, X); zeros of an empty set."""
    total = (x * valid[:, :, None]).sum(dim=1)
    return total / valid.sum(dim=1, keepdim=True).clamp(min=1)


def masked_max(x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return the maxima (B, X) of the valid ones among (B, N, X); zeros of an empty set."""
    largest = x.masked_fill(~valid[:, :, None], torch.finfo(x.dtype).min).amax(dim=1)
    return largest * valid.any(dim=1, keepdim=True)


class GatedAttention(nn.Module):
    """A weighted mean whose weights are learned from the vectors.

    Source: Ilse et al. 2018, "Attention-based Deep Multiple Instance Learning", equation 9.
    """

    def __init__(self, size: int, hidden: int):
        """Build the layers for vectors of `size` numbers, with `hidden` ones before the weight."""
        super().__init__()
        self.content = nn.Linear(size, hidden)
        self.gate = nn.Linear(size, hidden)
        self.score = nn.Linear(hidden, 1)

    def weights(self, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return weights (B, N) in [0, 1] that add up to 1; 0 where not valid."""
        hidden = self.content(x).tanh() * self.gate(x).sigmoid()
        scores = self.score(hidden)[:, :, 0]
        # With -inf the gradients of an empty set would be NaN.
        scores = scores.masked_fill(~valid, torch.finfo(scores.dtype).min)
        return scores.softmax(dim=1) * valid

    def forward(self, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return the weighted mean (B, X) of (B, N, X); zeros of an empty set."""
        return (self.weights(x, valid)[:, None] @ x)[:, 0]
