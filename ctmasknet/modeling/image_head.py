"""Heads that read an image's ranked boxes and classify the image.

Shapes: B images, N ranked boxes, D numbers in a row, C image classes.
"""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.utils.registry import Registry
from fvcore.nn import weight_init
from torch import nn
from torch.nn import functional as F

from ..config import require_one_of
from .ranked_boxes import row_size

LOSSES = ("binary_cross_entropy", "cross_entropy")

IMAGE_HEAD_REGISTRY = Registry("IMAGE_HEAD")
IMAGE_HEAD_REGISTRY.__doc__ = """
Image heads: modules that map the ranked tensor (B, N, D) to image logits (B, C) and have
`losses(logits, labels)`, which returns scalars by name; each is logged under its own. They are
means over images, and no image's depends on the others. Called as `head(cfg)`. On a CPU an
accelerated model calls them from several threads at a time, in training, too; a head that draws
random numbers (PyTorch's dropout layers are known) or changes its own state has the attribute
`concurrent = False`.
"""


def build_image_head(cfg: CfgNode) -> nn.Module:
    """Build the image head named by `MODEL.IMAGE_HEAD.NAME`."""
    return IMAGE_HEAD_REGISTRY.get(cfg.MODEL.IMAGE_HEAD.NAME)(cfg)


@IMAGE_HEAD_REGISTRY.register()
class RankedBoxHead(nn.Module):
    """Module S of the papers: three linear layers on the flattened ranked tensor."""

    @configurable
    def __init__(
        self,
        *,
        num_boxes: int,
        fc_dim: int,
        num_classes: int,
        row_size: int = 5,
        loss: str = "binary_cross_entropy",
    ):
        """Build the layers.

        Args:
            num_boxes: N.
            fc_dim: features of the two hidden layers.
            num_classes: C.
            row_size: D.
            loss: "binary_cross_entropy" of each class against the rest, as in the papers, or
                "cross_entropy" over the classes.

        Raises:
            ValueError: unknown loss.
        """
        require_one_of("MODEL.IMAGE_HEAD.LOSS", loss, LOSSES)
        super().__init__()
        self.num_boxes = num_boxes
        self.row_size = row_size
        self.num_classes = num_classes
        self.loss = loss
        self.fc1 = nn.Linear(num_boxes * row_size, fc_dim)
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
            "row_size": row_size(
                cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.MODEL.RANKED_BOXES.CLASS_ONE_HOT
            ),
            "loss": cfg.MODEL.IMAGE_HEAD.LOSS,
        }

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Map the ranked tensor (B, N, D) to image logits (B, C)."""
        x = F.relu(self.fc1(rows.flatten(1)))
        x = F.relu(self.fc2(x))
        return self.classifier(x)

    def losses(self, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the image loss, a mean over images (and, if binary, over classes).

        Args:
            logits: (B, C).
            labels: (B,) int64 in [0, C).

        Returns:
            {"loss_image": scalar}.
        """
        if self.loss == "cross_entropy":
            return {"loss_image": F.cross_entropy(logits, labels)}
        target = F.one_hot(labels, self.num_classes).to(logits.dtype)
        return {"loss_image": F.binary_cross_entropy_with_logits(logits, target)}
