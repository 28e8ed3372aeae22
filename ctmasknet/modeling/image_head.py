"""Heads that read an image's ranked boxes and classify the image.

Shapes: B images, N ranked boxes, C image classes.
"""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.utils.registry import Registry
from fvcore.nn import weight_init
from torch import nn
from torch.nn import functional as F

ROW = 5  # (score, dx, dy, dw, dh)

IMAGE_HEAD_REGISTRY = Registry("IMAGE_HEAD")
IMAGE_HEAD_REGISTRY.__doc__ = """
Image heads: modules that map the ranked tensor (B, N, 5) to image logits (B, C) and have
`losses(logits, labels)`. Called as `head(cfg)`.
"""


def build_image_head(cfg: CfgNode) -> nn.Module:
    """Build the image head named by `MODEL.IMAGE_HEAD.NAME`."""
    return IMAGE_HEAD_REGISTRY.get(cfg.MODEL.IMAGE_HEAD.NAME)(cfg)


@IMAGE_HEAD_REGISTRY.register()
class RankedBoxHead(nn.Module):
    """Module S of the papers: three linear layers on the flattened ranked tensor."""

    @configurable
    def __init__(self, *, num_boxes: int, fc_dim: int, num_classes: int):
        """Build the layers.

        Args:
            num_boxes: N.
            fc_dim: features of the two hidden layers.
            num_classes: C.
        """
        super().__init__()
        self.num_classes = num_classes
        self.fc1 = nn.Linear(num_boxes * ROW, fc_dim)
        self.fc2 = nn.Linear(fc_dim, fc_dim)
        self.classifier = nn.Linear(fc_dim, num_classes)
        for layer in (self.fc1, self.fc2, self.classifier):
            weight_init.c2_msra_fill(layer)  # Kaiming normal, fan out, as in the papers

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return {
            "num_boxes": cfg.MODEL.RANKED_BOXES.NUM,
            "fc_dim": cfg.MODEL.IMAGE_HEAD.FC_DIM,
            "num_classes": cfg.MODEL.IMAGE_HEAD.NUM_CLASSES,
        }

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Map the ranked tensor (B, N, 5) to image logits (B, C)."""
        x = F.relu(self.fc1(rows.flatten(1)))
        x = F.relu(self.fc2(x))
        return self.classifier(x)

    def losses(self, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the mean binary cross-entropy against the one-hot labels.

        Args:
            logits: (B, C).
            labels: (B,) int64 in [0, C).

        Returns:
            {"loss_image": scalar}.
        """
        target = F.one_hot(labels, self.num_classes).to(logits.dtype)
        return {"loss_image": F.binary_cross_entropy_with_logits(logits, target)}
