"""Copy-paste of lesions from one slice to another (Ghiasi et al. 2021).

Shapes: slices of H x W pixels, R lesions.
"""

import numpy as np
import torch
from detectron2.structures import BitMasks, Instances
from torch.nn import functional as F

_BLUR = 5  # pixels over which a pasted border fades


def paste_lesions(target: dict, source: dict) -> dict:
    """Paste some lesions of one mapped slice into another, at the same place of the image.

    Slices should be cropped alike (lungs that fill the image), so that lesions land in lung. Each
    lesion is taken with a chance of one half. What it covers is no lesion of the target any more.

    Args:
        target: "image" (C, H, W) uint8 and "instances" with `gt_masks` (BitMasks); not changed.
        source: likewise, of any size.

    Returns:
        The target with a new image and new instances.
    """
    size = tuple(target["image"].shape[1:])
    taken = torch.from_numpy(np.random.random(len(source["instances"])) < 0.5)
    own = source["instances"][taken]
    masks = F.interpolate(own.gt_masks.tensor[:, None].float(), size)[:, 0] > 0.5
    kept = masks.flatten(1).any(dim=1)
    if not kept.any():
        return target
    masks, labels = masks[kept], own.gt_classes[kept]
    covered = masks.any(dim=0)
    image = F.interpolate(
        source["image"][None].float(), size, mode="bilinear", align_corners=False
    )[0]
    weight = F.avg_pool2d(covered[None].float(), _BLUR, 1, _BLUR // 2)
    mixed = weight * image + (1 - weight) * target["image"].float()
    before = target["instances"]
    pasted = [before.gt_masks.tensor & ~covered, masks] if len(before) else [masks]
    labels = torch.cat([before.gt_classes, labels])
    together = torch.cat(pasted)
    left = together.flatten(1).any(dim=1)
    instances = Instances(size, gt_classes=labels[left], gt_masks=BitMasks(together[left]))
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    return {**target, "image": mixed.round().to(target["image"].dtype), "instances": instances}
