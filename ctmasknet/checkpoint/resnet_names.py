"""torchvision's names of ResNet tensors, which the author's code shares -> Detectron2's."""

import re
from collections.abc import Iterable

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}  # depth -> those of layer1..layer4
_RULES = (
    (r"^conv1\.", "stem.conv1."),
    (r"^bn1\.", "stem.conv1.norm."),
    (r"^layer([1-4])\.(\d+)\.conv([1-3])\.", lambda m: f"res{int(m[1]) + 1}.{m[2]}.conv{m[3]}."),
    (r"^layer([1-4])\.(\d+)\.bn([1-3])\.", lambda m: f"res{int(m[1]) + 1}.{m[2]}.conv{m[3]}.norm."),
    (r"^layer([1-4])\.(\d+)\.downsample\.0\.", lambda m: f"res{int(m[1]) + 1}.{m[2]}.shortcut."),
    (
        r"^layer([1-4])\.(\d+)\.downsample\.1\.",
        lambda m: f"res{int(m[1]) + 1}.{m[2]}.shortcut.norm.",
    ),
)


def detectron2_name(name: str) -> str | None:
    """Translate one name ("layer1.0.bn2.weight" -> "res2.0.conv2.norm.weight").

    Returns:
        The name within Detectron2's ResNet; None when it is no convolution or norm of a ResNet.
    """
    for pattern, replacement in _RULES:
        translated, count = re.subn(pattern, replacement, name)
        if count:
            return translated
    return None


def resnet_depth(names: Iterable[str]) -> tuple[int, int]:
    """Find out which ResNet the names of a state dict belong to.

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
