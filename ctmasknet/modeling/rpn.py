"""The RPN.

Shapes: B images, L levels, A anchors of a level, P proposals of an image.
"""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import PROPOSAL_GENERATOR_REGISTRY
from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import Boxes, Instances
from torchvision.ops import batched_nms, clip_boxes_to_image

from .box_transform import PreciseBox2BoxTransform, PreciseBoxes
from .finite import check_finite


@PROPOSAL_GENERATOR_REGISTRY.register()
class LesionRPN(RPN):
    """Detectron2's RPN that decodes the best anchors only, in the precision of the network.

    Losses and proposals are the stock ones (tested), but values that are not finite raise instead
    of being dropped without a word. As with the stock RPN, MODEL.PROPOSAL_GENERATOR.MIN_SIZE -1
    keeps proposals without area, which the author's code does.
    """

    @configurable
    def __init__(self, **kwargs):
        """Build the RPN; kwargs are those of Detectron2's."""
        super().__init__(**kwargs)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict) -> dict:
        ret = super().from_config(cfg, input_shape)
        ret["box2box_transform"] = PreciseBox2BoxTransform(weights=cfg.MODEL.RPN.BBOX_REG_WEIGHTS)
        return ret

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
        best = [
            logits.topk(min(logits.shape[1], self.pre_nms_topk[self.training]), dim=1)
            for logits in pred_objectness_logits
        ]
        sizes = torch.tensor([top.indices.shape[1] for top in best])
        levels = torch.arange(len(best)).repeat_interleave(sizes).to(best[0].indices)
        proposals = []
        for image, size in enumerate(image_sizes):
            boxes = torch.cat(
                [
                    self.box2box_transform.apply_deltas(
                        deltas[image, top.indices[image]], level.tensor[top.indices[image]]
                    )
                    for level, deltas, top in zip(anchors, pred_anchor_deltas, best, strict=True)
                ]
            )
            logits = torch.cat([top.values[image] for top in best])
            check_finite(image, boxes, logits)
            proposals.append(self._thin(boxes, logits, levels, size))
        return proposals

    def _thin(
        self,
        boxes: torch.Tensor,
        logits: torch.Tensor,
        levels: torch.Tensor,
        image_size: tuple[int, int],
    ) -> Instances:
        boxes = clip_boxes_to_image(boxes, image_size)
        large = (boxes[:, 2:] - boxes[:, :2] > self.min_box_size).all(dim=1)
        boxes, logits, levels = boxes[large], logits[large], levels[large]
        kept = batched_nms(boxes, logits.to(boxes.dtype), levels, self.nms_thresh)
        kept = kept[: self.post_nms_topk[self.training]]
        return Instances(
            image_size,
            proposal_boxes=PreciseBoxes(boxes[kept]),
            objectness_logits=logits[kept],
        )
