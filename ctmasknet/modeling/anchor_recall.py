"""How well a set of anchors fits the lesions of a data set.

Shapes: G lesions, A anchors of an image.
"""

from collections.abc import Iterable

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import build_anchor_generator
from detectron2.structures import Boxes, pairwise_iou


def best_anchor_ious(
    cfg: CfgNode, images: Iterable[tuple[tuple[int, int], torch.Tensor]]
) -> torch.Tensor:
    """Compute the IoU of each lesion with the anchor that fits it best.

    Proposals start from anchors, so a lesion that none of them is near is found late or never.

    Args:
        cfg: reads MODEL.ANCHOR_GENERATOR and MODEL.RPN.IN_FEATURES ("p4" has stride 16).
        images: (height, width) of the network's input and its lesions (G, 4), x0 y0 x1 y1 in its
            pixels.

    Returns:
        (all lesions,) float in [0, 1], in order.
    """
    strides = [2 ** int(name.removeprefix("p")) for name in cfg.MODEL.RPN.IN_FEATURES]
    generator = build_anchor_generator(cfg, [ShapeSpec(stride=stride) for stride in strides])
    best = []
    for (height, width), boxes in images:
        maps = [torch.empty(1, 1, -(-height // s), -(-width // s)) for s in strides]
        anchors = Boxes.cat(generator(maps))
        best.append(pairwise_iou(anchors, Boxes(boxes)).amax(dim=0))
    return torch.cat(best) if best else torch.empty(0)
