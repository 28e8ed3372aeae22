"""Image heads that read an image's boxes as a set: each once, however many there are.

Shapes: B images, N ranked boxes, V numbers of a box (its row and its features), F features of a
box, G features of an image, C image classes.
"""

import torch
from detectron2.config import CfgNode, configurable
from torch import nn
from torch.nn import functional as F

from .image_head import IMAGE_HEAD_REGISTRY, ImageHead
from .pooling import GatedAttention, masked_max, masked_mean
from .ranked_boxes import RankedBoxes, RankedBoxesShape

_ATTENTION_HEADS = 4


class BoxSetHead(ImageHead):
    """What heads share that read valid boxes alone.

    Features have no scale of their own, so each vector of them is normalised first.
    """

    @configurable
    def __init__(self, *, input_shape: RankedBoxesShape, fc_dim: int, **kwargs):
        """Build the norms.

        Args:
            input_shape: the sizes of what is read.
            fc_dim: of hidden layers.
            kwargs: those of ImageHead.
        """
        super().__init__(**kwargs)
        self.vector_size, self.fc_dim = input_shape.vector_size, fc_dim
        self.global_features = input_shape.global_features
        self.box_norm = nn.LayerNorm(input_shape.features) if input_shape.features else None
        self.global_norm = nn.LayerNorm(self.global_features) if self.global_features else None

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: RankedBoxesShape) -> dict:
        ret = super().from_config(cfg, input_shape)
        return {**ret, "input_shape": input_shape, "fc_dim": cfg.MODEL.IMAGE_HEAD.FC_DIM}

    def box_vectors(self, ranked: RankedBoxes) -> torch.Tensor:
        """Return each box's row and normalised features, (B, N, V)."""
        if self.box_norm is None:
            return ranked.rows
        return torch.cat([ranked.rows, self.box_norm(ranked.features)], dim=-1)

    def with_global_features(self, x: torch.Tensor, ranked: RankedBoxes) -> torch.Tensor:
        """Return (B, X) vectors of images with their global features, if any, after them."""
        if self.global_norm is None:
            return x
        return torch.cat([x, self.global_norm(ranked.global_features)], dim=-1)


@IMAGE_HEAD_REGISTRY.register()
class PooledBoxHead(BoxSetHead):
    """Mean and maximum over the boxes of each of their numbers, then one hidden layer.

    The baseline for heads that weigh or compare boxes.
    """

    @configurable
    def __init__(self, **kwargs):
        """Build the layers; kwargs are those of BoxSetHead."""
        super().__init__(**kwargs)
        self.fc = nn.Linear(2 * self.vector_size + self.global_features, self.fc_dim)
        self.classifier = nn.Linear(self.fc_dim, self.num_classes)

    def forward(self, ranked: RankedBoxes) -> torch.Tensor:
        """Map the ranked boxes of B images to image logits (B, C)."""
        x, valid = self.box_vectors(ranked), ranked.valid
        x = torch.cat([masked_mean(x, valid), masked_max(x, valid)], dim=1)
        return self.classifier(F.relu(self.fc(self.with_global_features(x, ranked))))


@IMAGE_HEAD_REGISTRY.register()
class AttentionBoxHead(BoxSetHead):
    """Gated attention over the boxes, whose weights can be shown.

    Source: Ilse et al. 2018, "Attention-based Deep Multiple Instance Learning".
    """

    @configurable
    def __init__(self, **kwargs):
        """Build the layers; kwargs are those of BoxSetHead."""
        super().__init__(**kwargs)
        self.embed = nn.Linear(self.vector_size, self.fc_dim)
        self.pool = GatedAttention(self.fc_dim, max(1, self.fc_dim // 2))
        self.classifier = nn.Linear(self.fc_dim + self.global_features, self.num_classes)

    def forward(self, ranked: RankedBoxes) -> torch.Tensor:
        """Map the ranked boxes of B images to image logits (B, C)."""
        x = self.pool(self._embedded(ranked), ranked.valid)
        return self.classifier(self.with_global_features(x, ranked))

    def attention(self, ranked: RankedBoxes) -> torch.Tensor:
        """Return the weights (B, N) of the boxes, which add up to 1; 0 where not valid."""
        return self.pool.weights(self._embedded(ranked), ranked.valid)

    def _embedded(self, ranked: RankedBoxes) -> torch.Tensor:
        return F.relu(self.embed(self.box_vectors(ranked)))


@IMAGE_HEAD_REGISTRY.register()
class SetBoxHead(BoxSetHead):
    """Self-attention among the boxes and a learned vector for the image, which is classified."""

    @configurable
    def __init__(self, *, num_blocks: int = 1, **kwargs):
        """Build the layers.

        Args:
            num_blocks: 1 or more.
            kwargs: those of BoxSetHead.

        Raises:
            ValueError: no block, or hidden layers that the attention heads cannot share.
        """
        super().__init__(**kwargs)
        if num_blocks < 1:
            raise ValueError(f"MODEL.IMAGE_HEAD.NUM_BLOCKS is {num_blocks}; expected 1 or more")
        if self.fc_dim % _ATTENTION_HEADS:
            raise ValueError(
                f"MODEL.IMAGE_HEAD.FC_DIM is {self.fc_dim}; SetBoxHead has {_ATTENTION_HEADS} "
                f"attention heads: set it to a multiple of {_ATTENTION_HEADS}"
            )
        self.embed = nn.Linear(self.vector_size, self.fc_dim)
        self.image_token = nn.Parameter(torch.zeros(self.fc_dim))
        self.blocks = nn.ModuleList(SelfAttention(self.fc_dim) for _ in range(num_blocks))
        self.norm = nn.LayerNorm(self.fc_dim)
        self.classifier = nn.Linear(self.fc_dim + self.global_features, self.num_classes)
        nn.init.normal_(self.image_token, std=0.02)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: RankedBoxesShape) -> dict:
        ret = super().from_config(cfg, input_shape)
        return {**ret, "num_blocks": cfg.MODEL.IMAGE_HEAD.NUM_BLOCKS}

    def forward(self, ranked: RankedBoxes) -> torch.Tensor:
        """Map the ranked boxes of B images to image logits (B, C)."""
        x = self.embed(self.box_vectors(ranked))
        x = torch.cat([self.image_token.expand(len(x), 1, -1), x], dim=1)
        valid = F.pad(ranked.valid, (1, 0), value=True)  # the image's vector is always there
        for block in self.blocks:
            x = block(x, valid)
        return self.classifier(self.with_global_features(self.norm(x[:, 0]), ranked))


class SelfAttention(nn.Module):
    """A block of a transformer's encoder, normalised first.

    Source: Vaswani et al. 2017, "Attention Is All You Need"; Xiong et al. 2020, "On Layer
    Normalization in the Transformer Architecture".
    """

    def __init__(self, size: int):
        """Build the layers for vectors of `size` numbers, a multiple of 4."""
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.fc1, self.fc2 = nn.Linear(size, 2 * size), nn.Linear(2 * size, size)

    def forward(self, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Map (B, N, X) to (B, N, X); only those valid (B, N), one or more, are attended to."""
        images, num, size = x.shape
        parts = self.qkv(self.norm1(x)).view(images, num, 3, _ATTENTION_HEADS, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mask = valid[:, None, None]
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.out(found.transpose(1, 2).reshape(images, num, size))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
