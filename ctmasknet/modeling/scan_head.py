"""A head over the slices of a scan, as image heads are over the boxes of a slice.

Shapes: G scans of at most S slices, C image classes.
"""

import torch
from torch import nn

from ..config import require_one_of
from .pooling import GatedAttention, masked_max, masked_mean

POOLS = ("mean", "max", "attention")
_LOWEST = 1e-4  # probabilities count as no less: one slice that is sure is not to outweigh a scan


class ScanHead(nn.Module):
    """Pool what is known of each slice, then classify the scan.

    Of a slice it reads the logarithms of its class probabilities, which files of predictions hold,
    of any system.
    """

    def __init__(self, pool: str, num_classes: int, hidden: int = 16):
        """Build the layers.

        Args:
            pool: "mean" or "max" of each number over the slices, or gated "attention".
            num_classes: C.
            hidden: numbers from which the weight of a slice is made (attention).

        Raises:
            ValueError: unknown pool, or hidden below 1.
        """
        require_one_of("scan head", pool, POOLS)
        if hidden < 1:
            raise ValueError(f"hidden is {hidden}, expected 1 or more")
        super().__init__()
        self.pool, self.num_classes = pool, num_classes
        self.attention = GatedAttention(num_classes, hidden) if pool == "attention" else None
        self.classifier = nn.Linear(num_classes, num_classes)

    def forward(self, probabilities: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Map probabilities (G, S, C) of slices, some of them valid (G, S), to logits (G, C)."""
        x = probabilities.clamp(min=_LOWEST).log()
        if self.attention is not None:
            pooled = self.attention(x, valid)
        else:
            pooled = {"mean": masked_mean, "max": masked_max}[self.pool](x, valid)
        return self.classifier(pooled)
