"""A semantic branch that tells lesion pixels by class.

Shapes: B images of H x W pixels, K lesion classes; class K is background.
"""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead
from detectron2.structures import Instances
from torch.nn import functional as F


@SEM_SEG_HEADS_REGISTRY.register()
class LesionSemSegHead(SemSegFPNHead):
    """Detectron2's head of Panoptic FPN (Kirillov et al. 2019) with a Dice term in its loss."""

    @configurable
    def __init__(self, input_shape: dict, *, dice_weight: float = 1.0, **kwargs):
        """Build the layers; `dice_weight` 0 leaves the cross-entropy alone."""
        super().__init__(input_shape, **kwargs)
        self.dice_weight = dice_weight

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict) -> dict:
        ret = super().from_config(cfg, input_shape)
        ret["num_classes"] = cfg.MODEL.ROI_HEADS.NUM_CLASSES + 1
        ret["dice_weight"] = cfg.MODEL.SEM_SEG_HEAD.DICE_WEIGHT
        return ret

    def losses(self, predictions: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the losses.

        Args:
            predictions: logits at the head's stride, (B, K + 1, H / stride, W / stride).
            targets: (B, H, W) int64 in 0..K, or the value that is ignored.
        """
        logits = F.interpolate(
            predictions.float(), targets.shape[-2:], mode="bilinear", align_corners=False
        )
        entropy = F.cross_entropy(logits, targets, ignore_index=self.ignore_value)
        losses = {"loss_sem_seg": self.loss_weight * entropy}
        if self.dice_weight:
            dice = dice_loss(logits.softmax(dim=1), targets, self.ignore_value)
            losses["loss_sem_dice"] = self.loss_weight * self.dice_weight * dice
        return losses


def dice_loss(probs: torch.Tensor, targets: torch.Tensor, ignore: int) -> torch.Tensor:
    """1 - mean soft Dice of each lesion class and of any lesion, over the pixels of the batch.

    Args:
        probs: (B, K + 1, H, W).
        targets: (B, H, W) int64 in 0..K, or `ignore`.
        ignore: target of pixels that do not count.

    Returns:
        A scalar in [0, 1]; 0 where the lesion pixels are just those of the targets.
    """
    background = probs.shape[1] - 1
    counted = targets != ignore
    true = F.one_hot(torch.where(counted, targets, background), background + 1)
    true = true.movedim(-1, 1).to(probs.dtype)
    probs = torch.where(counted[:, None], probs, true)
    # Any lesion in the place of background.
    probs, true = (torch.cat([x[:, :-1], 1 - x[:, -1:]], dim=1) for x in (probs, true))
    common, total = ((x * y).sum(dim=(0, 2, 3)) for x, y in ((probs, true), (probs + true, 1)))
    return 1 - ((2 * common + 1) / (total + 1)).mean()  # + 1: no pixel on either side is right


def semantic_targets(
    instances: list[Instances], size: tuple[int, int], num_classes: int, ignore: int
) -> torch.Tensor:
    """Paint instances as classes of pixels, on images that are padded below and to the right.

    Args:
        instances: B, with `gt_classes` and bit masks `gt_masks`, perhaps none.
        size: (H, W) with padding.
        num_classes: K.
        ignore: target of the padding.

    Returns:
        (B, H, W) int64; where lesions overlap, the class of the later one.
    """
    device = instances[0].gt_classes.device
    targets = torch.full((len(instances), *size), ignore, dtype=torch.int64, device=device)
    for target, own in zip(targets, instances, strict=True):
        height, width = own.image_size
        inside = target[:height, :width]
        inside.fill_(num_classes)
        if len(own):
            for label, mask in zip(own.gt_classes, own.gt_masks.tensor, strict=True):
                inside[mask] = label
    return targets
