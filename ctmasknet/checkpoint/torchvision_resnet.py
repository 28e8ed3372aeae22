"""torchvision's ResNets -> Detectron2's; the author's code shares torchvision's names."""

import re
from collections.abc import Iterable, Mapping

import torch

from .loading import BACKBONE

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}  # depth -> those of layer1..layer4
_PREFIXES = {"conv1.": "stem.conv1.", "bn1.": "stem.conv1.norm."}
_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.(conv[1-3]|bn[1-3]|downsample\.[01])\.(.*)")
_IN_BLOCK = {"downsample.0": "shortcut", "downsample.1": "shortcut.norm"}
_IN_BLOCK |= {f"conv{i}": f"conv{i}" for i in (1, 2, 3)}
_IN_BLOCK |= {f"bn{i}": f"conv{i}.norm" for i in (1, 2, 3)}


def detectron2_name(name: str) -> str | None:
    """Translate one name ("layer1.0.bn2.weight" -> "res2.0.conv2.norm.weight").

    Returns:
        The name within Detectron2's ResNet; None when it is no convolution or norm of a ResNet.
    """
    for theirs, ours in _PREFIXES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    if not (match := _BLOCK.match(name)):
        return None
    stage, block, part, parameter = match.groups()
    return f"res{int(stage) + 1}.{block}.{_IN_BLOCK[part]}.{parameter}"


def resnet_depth(names: Iterable[str]) -> tuple[int, int]:
    """Tell a ResNet by the names of its state dict.

    Args:
        names: in torchvision's layout, without a prefix; the last stages may be cut off.

    Returns:
        (depth, stages): 18, 34 or 50, and how many of layer1..layer4 there are.

    Raises:
        ValueError: none of the three.
    """
    names = list(names)
    blocks = []
    for layer in range(1, 5):
        found = {m[1] for name in names if (m := re.match(rf"layer{layer}\.(\d+)\.", name))}
        blocks.append(len(found))
    stages = blocks.index(0) if 0 in blocks else 4
    bottleneck = any(re.match(r"layer1\.0\.conv3\.", name) for name in names)
    for depth in (50,) if bottleneck else (18, 34):
        if stages and BLOCKS[depth][:stages] == tuple(blocks[:stages]) and not any(blocks[stages:]):
            return depth, stages
    raise ValueError(
        f"no ResNet-18, 34 or 50: layer1 to layer4 have {', '.join(map(str, blocks))} blocks"
    )


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
            converted[BACKBONE + ours] = tensor
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
