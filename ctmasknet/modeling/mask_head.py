"""The papers' mask head, which keeps logits.

Shapes: R RoIs, K lesion classes, M x M cells of a mask.
"""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_MASK_HEAD_REGISTRY
from detectron2.modeling.roi_heads import MaskRCNNConvUpsampleHead
from detectron2.modeling.roi_heads.mask_head import mask_rcnn_loss
from detectron2.structures import BitMasks, Boxes, Instances, ROIMasks
from torchvision.models.detection.roi_heads import paste_masks_in_image

from ..config import require_one_of
from .precision import full_precision

PASTES = ("detectron2", "torchvision")
MASK_CUT = 0.5  # of what is pasted, which here are logits: pixels from here up are mask


@ROI_MASK_HEAD_REGISTRY.register()
class MaskLogitHead(MaskRCNNConvUpsampleHead):
    """Detectron2's convolutional mask head whose `pred_masks` are logits, not probabilities.

    The papers paste logits and keep pixels above 0.5 (probability 0.62). Detectron2 cuts whatever
    it pastes at 0.5, so leaving out the sigmoid reproduces them with its own pasting. Training is
    the stock one. `layers` is a seam for `ctmasknet.fast`.
    """

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        paste: str = "detectron2",
        dice_weight: float = 0.0,
        **kwargs,
    ):
        """Build the layers.

        Args:
            input_shape: of the pooled features.
            paste: "detectron2" or "torchvision": whose code puts masks into the image.
            dice_weight: of a Dice term beside the cross-entropy in training.
            kwargs: those of MaskRCNNConvUpsampleHead.

        Raises:
            ValueError: unknown paste.
        """
        require_one_of("MODEL.ROI_MASK_HEAD.PASTE", paste, PASTES)
        super().__init__(input_shape, **kwargs)
        self.paste, self.dice_weight = paste, dice_weight

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict:
        ret = super().from_config(cfg, input_shape)
        ret["paste"] = cfg.MODEL.ROI_MASK_HEAD.PASTE
        ret["dice_weight"] = cfg.MODEL.ROI_MASK_HEAD.DICE_WEIGHT
        return ret

    def forward(self, x: torch.Tensor, instances: list[Instances]):
        """Return the mask loss in training, else the instances with their mask logits.

        Args:
            x: pooled features of all instances, (R, channels, 14, 14).
            instances: one per image; at inference with `pred_classes`.

        Returns:
            In training a dict of losses. At inference the instances, each with `pred_masks`, the
            logits of its own class: (Ri, 1, 28, 28), or TorchvisionROIMasks of (Ri, 28, 28).
        """
        if self.training and not self.dice_weight:
            return super().forward(x, instances)
        if self.training:
            logits = self.layers(x)
            loss = mask_rcnn_loss(logits, instances, self.vis_period) * self.loss_weight
            dice = mask_dice_loss(logits, instances) * self.loss_weight * self.dice_weight
            return {"loss_mask": loss, "loss_mask_dice": dice}
        logits = self.layers(x)
        for image, logits_i in zip(instances, logits.split(list(map(len, instances))), strict=True):
            # A class-agnostic head has one channel, which serves every class.
            channel = image.pred_classes if logits.shape[1] > 1 else 0
            own = logits_i[torch.arange(len(image), device=logits.device), channel]
            image.pred_masks = (
                TorchvisionROIMasks(own) if self.paste == "torchvision" else own[:, None]
            )
        return instances

    def layers(self, x: torch.Tensor) -> torch.Tensor:
        """The stock layers, (R, channels, 14, 14) to (R, K, 28, 28), logits in full precision."""
        for layer in (*self.conv_norm_relus, self.deconv, self.deconv_relu):
            x = layer(x)
        with full_precision(x.device):
            return self.predictor(x.to(self.predictor.weight.dtype))


def mask_dice_loss(logits: torch.Tensor, instances: list[Instances]) -> torch.Tensor:
    """1 - the mean soft Dice of RoIs' masks (Milletari et al. 2016), each within its box.

    Args:
        logits: (R, K, M, M), or (R, 1, M, M) of a class-agnostic head.
        instances: R in all, with `proposal_boxes`, `gt_classes` and `gt_masks`.

    Returns:
        A scalar in [0, 1]; 0, with gradient, where there is no RoI.
    """
    if not len(logits):
        return logits.sum()
    own = torch.cat([x.gt_classes for x in instances]) if logits.shape[1] > 1 else 0
    probs = logits[torch.arange(len(logits), device=logits.device), own].sigmoid().flatten(1)
    side = logits.shape[-1]
    true = torch.cat(
        [x.gt_masks.crop_and_resize(x.proposal_boxes.tensor, side) for x in instances if len(x)]
    ).flatten(1)
    common, total = (probs * true).sum(dim=1), (probs + true).sum(dim=1)
    return 1 - ((2 * common + 1) / (total + 1)).mean()


class TorchvisionROIMasks(ROIMasks):
    """Masks of RoIs that torchvision pastes, as in the author's code.

    torchvision rounds boxes to whole pixels and resizes into them; Detectron2 samples at the true
    place. They differ by a pixel along the border.
    """

    def __getitem__(self, item) -> "TorchvisionROIMasks":
        return TorchvisionROIMasks(super().__getitem__(item).tensor)

    def to(self, *args, **kwargs) -> "TorchvisionROIMasks":
        """As `ROIMasks.to`, which would forget whose pasting this is."""
        return TorchvisionROIMasks(self.tensor.to(*args, **kwargs))

    def to_bitmasks(
        self, boxes: Boxes | torch.Tensor, height: int, width: int, threshold: float = 0.5
    ) -> BitMasks:
        """Paste the masks at their boxes into (height, width); see `ROIMasks.to_bitmasks`."""
        boxes = boxes.tensor if isinstance(boxes, Boxes) else boxes
        pasted = paste_masks_in_image(self.tensor[:, None], boxes, (height, width))
        return BitMasks(pasted[:, 0] > threshold)
