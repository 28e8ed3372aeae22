"""Heads that read an image's ranked boxes and classify the image.

Shapes: B images, N ranked boxes, D numbers in a row, C image classes.
"""

from abc import ABC, abstractmethod

import torch
from detectron2.config import CfgNode, configurable
from detectron2.utils.registry import Registry
from fvcore.nn import weight_init
from torch import nn
from torch.nn import functional as F

from ..config import require_one_of
from .ranked_boxes import RankedBoxes, RankedBoxesShape

LOSSES = ("binary_cross_entropy", "cross_entropy")

IMAGE_HEAD_REGISTRY = Registry("IMAGE_HEAD")
IMAGE_HEAD_REGISTRY.__doc__ = """
Image heads: see `ImageHead`. Called as `head(cfg, input_shape)`, a RankedBoxesShape.
"""


def image_loss(logits: torch.Tensor, labels: torch.Tensor, loss: str) -> torch.Tensor:
    """Return the image loss, a mean over images (and, if binary, over classes).

    Args:
        logits: (B, C).
        labels: (B,) int64 in [0, C).
        loss: "binary_cross_entropy" of each class against the rest, as in the papers, or
            "cross_entropy" over the classes.
    """
    if loss == "cross_entropy":
        return F.cross_entropy(logits, labels)
    target = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, target)


class ImageHead(nn.Module, ABC):
    """A module that maps RankedBoxes of B images to image logits (B, C).

    On a CPU an accelerated model calls it from several threads at a time, in training, too. A head
    that draws random numbers (PyTorch's dropout layers are known) or changes its own state sets
    `concurrent = False`. One with a method `attention`, of RankedBoxes to weights (B, N), has them
    shown beside its explanations.

    Attributes:
        input_shape: what it was built for.
    """

    concurrent = True
    input_shape: RankedBoxesShape

    @configurable
    def __init__(self, *, num_classes: int, loss: str = "binary_cross_entropy"):
        """Keep what the loss needs.

        Args:
            num_classes: C.
            loss: see `image_loss`.

        Raises:
            ValueError: unknown loss.
        """
        require_one_of("MODEL.IMAGE_HEAD.LOSS", loss, LOSSES)
        super().__init__()
        self.num_classes = num_classes
        self.loss = loss

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: RankedBoxesShape) -> dict:
        head = cfg.MODEL.IMAGE_HEAD
        return {"num_classes": head.NUM_CLASSES, "loss": head.LOSS}

    @abstractmethod
    def forward(self, ranked: RankedBoxes) -> torch.Tensor:
        """Map the ranked boxes of B images to image logits (B, C)."""

    def losses(self, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return scalars by name, each of which is logged under its own.

        They are means over images, and no image's depends on the others.

        Args:
            logits: (B, C).
            labels: (B,) int64 in [0, C).
        """
        return {"loss_image": image_loss(logits, labels, self.loss)}


def build_image_head(cfg: CfgNode, input_shape: RankedBoxesShape) -> ImageHead:
    """Build the image head named by `MODEL.IMAGE_HEAD.NAME`.

    Raises:
        ValueError: what is registered under the name is no ImageHead.
    """
    name = cfg.MODEL.IMAGE_HEAD.NAME
    build = IMAGE_HEAD_REGISTRY.get(name)
    other = isinstance(build, type) and not issubclass(build, ImageHead)
    head = None if other else build(cfg, input_shape)
    if not isinstance(head, ImageHead):
        raise ValueError(
            f"MODEL.IMAGE_HEAD.NAME is {name!r}, which is no ImageHead: derive it from "
            "ctmasknet.modeling.ImageHead; __init__ takes (cfg, input_shape), and forward "
            "RankedBoxes, whose `rows` are the ranked tensor (B, N, D); see docs/extending.md"
        )
    head.input_shape = input_shape
    return head


@IMAGE_HEAD_REGISTRY.register()
class RankedBoxHead(ImageHead):
    """Module S of the papers: three linear layers on the flattened ranked tensor.

    Features of boxes stand behind each row, those of the image behind all of them.
    """

    @configurable
    def __init__(self, *, input_shape: RankedBoxesShape, fc_dim: int, **kwargs):
        """Build the layers.

        Args:
            input_shape: N, D and, where asked for, features.
            fc_dim: features of the two hidden layers.
            kwargs: those of ImageHead.
        """
        super().__init__(**kwargs)
        self.num_boxes, self.row_size = input_shape.num_boxes, input_shape.vector_size
        inputs = self.num_boxes * self.row_size + input_shape.global_features
        self.fc1 = nn.Linear(inputs, fc_dim)
        self.fc2 = nn.Linear(fc_dim, fc_dim)
        self.classifier = nn.Linear(fc_dim, self.num_classes)
        for layer in (self.fc1, self.fc2, self.classifier):
            weight_init.c2_msra_fill(layer)  # Kaiming normal, fan out, as in the papers

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: RankedBoxesShape) -> dict:
        ret = super().from_config(cfg, input_shape)
        return {**ret, "input_shape": input_shape, "fc_dim": cfg.MODEL.IMAGE_HEAD.FC_DIM}

    def forward(self, ranked: RankedBoxes) -> torch.Tensor:
        """Map the ranked boxes of B images to image logits (B, C)."""
        x = with_global_features(ranked.vectors.flatten(1), ranked)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.classifier(x)


def with_global_features(x: torch.Tensor, ranked: RankedBoxes) -> torch.Tensor:
    """Return (B, X) vectors of images with their global features, if any, after them."""
    return x if ranked.global_features is None else torch.cat([x, ranked.global_features], dim=1)
