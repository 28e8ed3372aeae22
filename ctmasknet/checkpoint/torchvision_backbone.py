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
        left out -> why. Counters of batches, which files from before PyTorch 0.4.1 lack, are 0.

    Raises:
        ValueError: not a ResNet-18, 34 or 50 of torchvision.
    """
    depth, stages = resnet_depth(weights)
    if stages < 4:
        raise ValueError(f"ResNet-{depth} has layer1 to layer4, but layer{stages + 1} is missing")
    converted, ignored = {}, {}
    for name, tensor in {**_batch_counters(weights), **weights}.items():
        ours = detectron2_name(name)
        if ours:
            converted[PREFIX + ours] = tensor
        elif name.startswith("fc."):
            ignored[name] = "ImageNet's classifier"
        else:
            raise ValueError(f"{name} is no tensor of a torchvision ResNet-{depth}")
    return depth, converted, ignored


def _batch_counters(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    means = [name for name in weights if name.endswith(".running_mean")]
    return {
        name.replace("running_mean", "num_batches_tracked"): torch.zeros((), dtype=torch.int64)
        for name in means
    }
