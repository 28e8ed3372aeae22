"""The papers' mask head, which keeps logits."""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_MASK_HEAD_REGISTRY
from detectron2.modeling.roi_heads import MaskRCNNConvUpsampleHead
from detectron2.structures import Instances
from torch.nn import functional as F

from ..config import require_one_of
from ..fast.mask_paste import TorchvisionROIMasks
from .precision import full_precision

PASTES = ("detectron2", "torchvision")
MASK_CUT = 0.5  # of what is pasted, which here are logits: pixels from here up are mask
# Bytes. With all RoIs at once 30,000 to 60,000 pages were mapped anew for each image: glibc never
# keeps blocks of more than 32 MB (memory.py). Parts of 16 MB are no faster.
_MEMORY = 2**23


@ROI_MASK_HEAD_REGISTRY.register()
class MaskLogitHead(MaskRCNNConvUpsampleHead):
    """Detectron2's convolutional mask head whose `pred_masks` are logits, not probabilities.

    The papers paste logits and keep pixels above 0.5 (probability 0.62). Detectron2 cuts whatever
    it pastes at 0.5, so leaving out the sigmoid reproduces them with its own pasting. Training is
    the stock one.
    """

    @configurable
    def __init__(self, input_shape: ShapeSpec, *, paste: str = "detectron2", **kwargs):
        """Build the layers.

        Args:
            input_shape: of the pooled features.
            paste: "detectron2" or "torchvision": whose code puts masks into the image.
            kwargs: those of MaskRCNNConvUpsampleHead.

        Raises:
            ValueError: unknown paste.
        """
        require_one_of("MODEL.ROI_MASK_HEAD.PASTE", paste, PASTES)
        super().__init__(input_shape, **kwargs)
        self.paste = paste

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict:
        ret = super().from_config(cfg, input_shape)
        ret["paste"] = cfg.MODEL.ROI_MASK_HEAD.PASTE
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
        if self.training:
            return super().forward(x, instances)
        logits = torch.cat([self.layers(part) for part in x.split(self._at_a_time(x))])
        sizes = [len(image) for image in instances]
        for image, logits_i in zip(instances, logits.split(sizes), strict=True):
            # A class-agnostic head has one channel, which serves every class.
            channel = image.pred_classes if logits.shape[1] > 1 else 0
            rows = torch.arange(len(image), device=logits.device)
            own = logits_i[rows, channel]
            image.pred_masks = (
                TorchvisionROIMasks(own) if self.paste == "torchvision" else own[:, None]
            )
        return instances

    def _at_a_time(self, x: torch.Tensor) -> int:
        """RoIs whose upsampled values, of which there are most, fit into reused memory."""
        if x.device.type != "cpu":
            return max(1, len(x))
        values = 4 * self.deconv.out_channels * x.shape[2] * x.shape[3]
        return max(1, _MEMORY // (values * x.element_size()))

    def layers(self, x: torch.Tensor) -> torch.Tensor:
        """The stock layers, (R, channels, 14, 14) to (R, K, 28, 28), in another order.

        The upsampling's 2 x 2 windows do not overlap, so each position in them is a linear layer
        of its own, and what follows may be done before the four are put in their places.
        """
        for layer in self.conv_norm_relus:
            x = layer(x)
        # (in, out, 2, 2) -> rows: position in the window, then output channel.
        weight = self.deconv.weight.permute(2, 3, 1, 0).flatten(0, 2)
        x = F.relu_(F.linear(x.permute(0, 2, 3, 1), weight, self.deconv.bias.repeat(4)))
        x = x.unflatten(3, (2, 2, -1))
        with full_precision(x.device):
            predictor = self.predictor
            x = F.linear(x.to(predictor.weight.dtype), predictor.weight[:, :, 0, 0], predictor.bias)
        # (R, h, w, 2, 2, K) -> (R, K, h, 2, w, 2)
        return x.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
