"""The papers' mask head, which keeps logits."""

import torch
from detectron2.modeling import ROI_MASK_HEAD_REGISTRY
from detectron2.modeling.roi_heads import MaskRCNNConvUpsampleHead
from detectron2.structures import Instances


@ROI_MASK_HEAD_REGISTRY.register()
class MaskLogitHead(MaskRCNNConvUpsampleHead):
    """Detectron2's convolutional mask head whose `pred_masks` are logits, not probabilities.

    The papers paste logits and keep pixels above 0.5 (probability 0.62). Detectron2 cuts whatever
    it pastes at 0.5, so leaving out the sigmoid reproduces them with its own pasting. Training is
    the stock one.
    """

    def forward(self, x: torch.Tensor, instances: list[Instances]):
        """Return the mask loss in training, else the instances with their mask logits.

        Args:
            x: pooled features of all instances, (R, channels, 14, 14).
            instances: one per image; at inference with `pred_classes`.

        Returns:
            In training a dict of losses. At inference the instances, each with `pred_masks`:
            (Ri, 1, 28, 28) logits of its own class.
        """
        if self.training:
            return super().forward(x, instances)
        logits = self.layers(x)
        sizes = [len(image) for image in instances]
        for image, logits_i in zip(instances, logits.split(sizes), strict=True):
            # A class-agnostic head has one channel, which serves every class.
            channel = image.pred_classes if logits.shape[1] > 1 else 0
            rows = torch.arange(len(image), device=logits.device)
            image.pred_masks = logits_i[rows, channel][:, None]
        return instances
