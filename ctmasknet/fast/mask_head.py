"""The mask head's upsampling as a linear layer."""

import torch
from torch.nn import functional as F

from ..modeling import LesionRCNN, MaskLogitHead
from ..modeling.precision import full_precision
from .rebind import rebind

# Bytes of upsampled values, of which there are most. With all RoIs at once glibc maps tens of
# thousands of pages anew for each image: it keeps no blocks of more than 32 MB (malloc.py).
_MEMORY = 2**23


def linear_upsampling(model: LesionRCNN) -> None:
    """Compute `MaskLogitHead.layers` without PyTorch's slow transposed convolution.

    The upsampling's 2 x 2 windows do not overlap, so each position in them is a linear layer of its
    own, and what follows may be done before the four are put in their places.
    """
    head = getattr(model.roi_heads, "mask_head", None)
    if isinstance(head, MaskLogitHead):
        rebind(head, "layers", _layers, MaskLogitHead)


def _layers(head: MaskLogitHead, x: torch.Tensor) -> torch.Tensor:
    if x.device.type != "cpu":
        return type(head).layers(head, x)
    values = 4 * head.deconv.out_channels * x.shape[2] * x.shape[3]
    at_a_time = max(1, _MEMORY // (values * x.element_size()))
    if torch.is_grad_enabled() or head.training:  # all is kept, or seen by norms
        at_a_time = max(1, len(x))
    return torch.cat([_some_layers(head, part) for part in x.split(at_a_time)])


def _some_layers(head: MaskLogitHead, x: torch.Tensor) -> torch.Tensor:
    for layer in head.conv_norm_relus:
        x = layer(x)
    # (in, out, 2, 2) -> rows: position in the window, then output channel.
    weight = head.deconv.weight.permute(2, 3, 1, 0).flatten(0, 2)
    x = F.relu_(F.linear(x.permute(0, 2, 3, 1), weight, head.deconv.bias.repeat(4)))
    x = x.unflatten(3, (2, 2, -1))
    with full_precision(x.device):
        predictor = head.predictor
        x = F.linear(x.to(predictor.weight.dtype), predictor.weight[:, :, 0, 0], predictor.bias)
    # (R, h, w, 2, 2, K) -> (R, K, h, 2, w, 2)
    return x.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
