"""Anchors measured on a data set, at the size that the network sees."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from tabulate import tabulate

from ..data.coco_lesions import in_file, read_coco_lesions
from ..data.regroup import regroup
from ..modeling.anchor_recall import best_anchor_ious

IOUS = (0.3, 0.5, 0.7)


def describe_anchor_fit(cfg: CfgNode, lesions: Path) -> str:
    """Lay out how many lesions of a COCO file the config's anchors reach, by IoU.

    Lesions are read by INPUT.MASK_TYPE and MIN_LESION_AREA and scaled as for inference. A
    ValueError or FileNotFoundError: a file that cannot be used.
    """
    if cfg.INPUT.FIELD_OF_VIEW != "image":
        raise ValueError(
            f"INPUT.FIELD_OF_VIEW is {cfg.INPUT.FIELD_OF_VIEW}: anchors are measured on whole "
            "images; set it to image and take slices that are cropped"
        )
    coco = read_coco_lesions(lesions).coco
    with in_file(lesions):
        coco = regroup(coco, cfg.INPUT.MASK_TYPE, cfg.INPUT.MIN_LESION_AREA)
    found = defaultdict(list)
    for item in coco["annotations"]:
        if not item["iscrowd"]:
            found[item["image_id"]].append(item)
    images, classes = [], []
    for image in coco["images"]:
        size = T.ResizeShortestEdge.get_output_shape(
            image["height"], image["width"], cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST
        )
        boxes = torch.tensor([x["bbox"] for x in found[image["id"]]], dtype=torch.float32)
        boxes = boxes.view(-1, 4) * (size[0] / image["height"])
        boxes[:, 2:] += boxes[:, :2]
        images.append((size, boxes))
        classes += [x["category_id"] for x in found[image["id"]]]
    if not classes:
        raise ValueError(f"{lesions}: found no lesion of more than {cfg.INPUT.MIN_LESION_AREA} px")
    best, labels = best_anchor_ious(cfg, images).numpy(), np.array(classes)
    corners = torch.cat([boxes for _, boxes in images])
    sides = (corners[:, 2:] - corners[:, :2]).prod(dim=1).sqrt().numpy()
    groups = {"all": labels == labels}
    groups |= {x["name"]: labels == x["id"] for x in coco["categories"]}
    rows = [
        [
            name,
            own.sum(),
            *(f"{x:.0f}" for x in np.percentile(sides[own], (10, 50, 90))),
            *(f"{(best[own] >= iou).mean():.0%}" for iou in IOUS),
            f"{best[own].mean():.2f}",
        ]
        for name, own in groups.items()
        if own.any()
    ]
    anchors = cfg.MODEL.ANCHOR_GENERATOR
    heads = [*(f"side, {q} % (px)" for q in (10, 50, 90)), *(f"IoU {x:g}" for x in IOUS)]
    return (
        f"anchors of {anchors.SIZES} px, height / width {anchors.ASPECT_RATIOS}, on "
        f"{', '.join(cfg.MODEL.RPN.IN_FEATURES)}; short side {cfg.INPUT.MIN_SIZE_TEST} px\n"
        + tabulate(rows, ["lesions", "number", *heads, "mean IoU"])
    )
