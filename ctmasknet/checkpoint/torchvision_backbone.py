"""torchvision's ResNet-18, 34 and 50 -> backbones of lesion models."""

from collections.abc import Mapping

import torch

from .resnet_names import detectron2_name, resnet_depth

PREFIX = "backbone.bottom_up."


def convert_torchvision_backbone(
    weights: Mapping[str, torch.Tensor],
) -> tuple[int, dict[str, torch.Tensor], dict[str, str]]:
    """Rename the tensors of a torchvision ResNet.

    Args:
        weights: its state dict.

    Returns:
        (depth, weights, ignored): 18, 34 or 50; name in our lesion models -> tensor; and what was
        left out -> why.

    Raises:
        ValueError: not a ResNet-18, 34 or 50 of torchvision.
    """
    depth, stages = resnet_depth(weights)
    if stages < 4:
        raise ValueError(f"ResNet-{depth} has layer1 to layer4, but layer{stages + 1} is missing")
    converted, ignored = {}, {}
    for name, tensor in weights.items():
        ours = detectron2_name(name)
        if ours:
            converted[PREFIX + ours] = tensor
        elif name.startswith("fc."):
            ignored[name] = "ImageNet's classifier"
        else:
            raise ValueError(f"{name} is no tensor of a torchvision ResNet-{depth}")
    return depth, converted, ignored
