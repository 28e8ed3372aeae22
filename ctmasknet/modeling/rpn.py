"""The RPN.

Shapes: B images, L levels, A anchors of a level, n proposals of an image.
"""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import PROPOSAL_GENERATOR_REGISTRY
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.proposal_generator.rpn import RPN_HEAD_REGISTRY, StandardRPNHead
from detectron2.structures import Boxes, ImageList, Instances
from torchvision.ops import clip_boxes_to_image

from .box_selection import nms
from .box_transform import PreciseBox2BoxTransform, PreciseBoxes
from .finite import check_finite
from .precision import full_precision
from .profiling import profiled


@RPN_HEAD_REGISTRY.register()
class FullPrecisionRPNHead(StandardRPNHead):
    """Detectron2's head whose logits and deltas are always in the precision of the weights."""

    def forward(
        self, features: list[torch.Tensor]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """As StandardRPNHead: L tensors (B, anchors, H, W) and L (B, anchors * 4, H, W)."""
        logits, deltas = [], []
        for level in features:
            hidden = self.conv(level)
            with full_precision(hidden.device):
                hidden = hidden.to(self.objectness_logits.weight.dtype)
                logits.append(self.objectness_logits(hidden))
                deltas.append(self.anchor_deltas(hidden))
        return logits, deltas


@PROPOSAL_GENERATOR_REGISTRY.register()
class LesionRPN(RPN):
    """Detectron2's RPN that decodes the best anchors only, in the precision of the network.

    Losses and proposals are the stock ones (tested), but values that are not finite raise instead
    of being dropped without a word. As with the stock RPN, MODEL.PROPOSAL_GENERATOR.MIN_SIZE -1
    keeps proposals without area, which the author's code does. FullPrecisionRPNHead takes the
    place of StandardRPNHead. `nms` is a seam for `ctmasknet.fast`.
    """

    nms = staticmethod(nms)

    @configurable
    def __init__(self, **kwargs):
        """Build the RPN; kwargs are those of Detectron2's."""
        super().__init__(**kwargs)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict) -> dict:
        if cfg.MODEL.RPN.HEAD_NAME == StandardRPNHead.__name__:
            cfg = cfg.clone()
            cfg.defrost()
            cfg.MODEL.RPN.HEAD_NAME = FullPrecisionRPNHead.__name__
        ret = super().from_config(cfg, input_shape)
        ret["box2box_transform"] = PreciseBox2BoxTransform(weights=cfg.MODEL.RPN.BBOX_REG_WEIGHTS)
        return ret

    def forward(
        self,
        images: ImageList,
        features: dict[str, torch.Tensor],
        gt_instances: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, torch.Tensor]]:
        """As RPN: proposals, and in training the losses."""
        with profiled("proposals"):
            return super().forward(images, features, gt_instances)

    @torch.no_grad()
    def predict_proposals(
        self,
        anchors: list[Boxes],
        pred_objectness_logits: list[torch.Tensor],
        pred_anchor_deltas: list[torch.Tensor],
        image_sizes: list[tuple[int, int]],
    ) -> list[Instances]:
        """Decode the best anchors of each level, thin them by NMS and keep the best of all.

        Args:
            anchors: L times A boxes.
            pred_objectness_logits: L tensors (B, A).
            pred_anchor_deltas: L tensors (B, A, 4).
            image_sizes: B times (height, width) without padding.

        Returns:
            B Instances with `proposal_boxes` and `objectness_logits`, best first.

        Raises:
            NotFiniteError: NaN or infinity among an image's best anchors.
        """
        most = self.pre_nms_topk[self.training]
        best = [x.topk(min(x.shape[1], most), dim=1) for x in pred_objectness_logits]
        logits = torch.cat([top.values for top in best], dim=1)
        boxes = torch.cat(
            [
                self._decode(level.tensor, deltas, top.indices)
                for level, deltas, top in zip(anchors, pred_anchor_deltas, best, strict=True)
            ],
            dim=1,
        )
        check_finite(boxes, logits)
        levels = torch.cat([torch.full_like(top.indices[0], i) for i, top in enumerate(best)])
        proposals = []
        for own_boxes, own_logits, size in zip(boxes, logits, image_sizes, strict=True):
            own_boxes = clip_boxes_to_image(own_boxes, size)
            large = (own_boxes[:, 2:] - own_boxes[:, :2] > self.min_box_size).all(dim=1)
            own_boxes, own_logits = own_boxes[large], own_logits[large]
            kept = self.nms(
                own_boxes,
                own_logits.to(boxes.dtype),
                levels[large],
                self.nms_thresh,
                self.post_nms_topk[self.training],
            )
            found = Instances(size)
            found.proposal_boxes = PreciseBoxes(own_boxes[kept])
            found.objectness_logits = own_logits[kept]
            proposals.append(found)
        return proposals

    def _decode(
        self, anchors: torch.Tensor, deltas: torch.Tensor, chosen: torch.Tensor
    ) -> torch.Tensor:
        """Boxes (B, n, 4) of chosen anchors (B, n)."""
        own = deltas.gather(1, chosen[:, :, None].expand(-1, -1, 4))
        boxes = self.box2box_transform.apply_deltas(own.flatten(0, 1), anchors[chosen.flatten()])
        return boxes.view(*chosen.shape, 4)
