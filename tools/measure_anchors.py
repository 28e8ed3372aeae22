#!/usr/bin/env python
"""Measure how many lesions a set of anchors can reach, by IoU, at the size the network sees.

    measure_anchors.py --data lesions.json --config-file configs/lesion/R18_T1.yaml
    measure_anchors.py --data lesions.json --config-file configs/recipe/recipe_R18_T1.yaml \\
        MODEL.ANCHOR_GENERATOR.SIZES "[[8, 16, 32, 64, 128]]" INPUT.MIN_SIZE_TEST 384

Recall is the share of lesions whose best anchor overlaps them at least so much. KEY VALUE pairs at
the end override the config.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from detectron2.data import transforms as T
from tabulate import tabulate

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.data.registration import category_names, reading_coco
from ctmasknet.data.regroup import regroup
from ctmasknet.engine import load_config
from ctmasknet.modeling.anchor_recall import best_anchor_ious

IOUS = (0.3, 0.5, 0.7)


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="LESIONS.json")
    parser.add_argument("--config-file", required=True)
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="of the config")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config_file, args.opts, datasets=False)
    with reading_coco(args.data):
        coco = json.loads(args.data.read_text(encoding="utf-8"))
        coco = regroup(coco, cfg.INPUT.MASK_TYPE, cfg.INPUT.MIN_LESION_AREA)
    images, classes, sides = [], [], []
    for image in coco["images"]:
        mine = [x for x in coco["annotations"] if x["image_id"] == image["id"]]
        size = T.ResizeShortestEdge.get_output_shape(
            image["height"], image["width"], cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST
        )
        boxes = torch.tensor([x["bbox"] for x in mine]).view(-1, 4) * (size[0] / image["height"])
        boxes[:, 2:] += boxes[:, :2]
        images.append((size, boxes))
        classes += [x["category_id"] for x in mine]
        sides += (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt().tolist()
    best = best_anchor_ious(cfg, images).numpy()
    labels = np.array(classes)
    names = dict(zip(sorted(set(classes)), category_names(coco), strict=False))
    groups = {"all": labels > 0} | {name: labels == k for k, name in names.items()}
    rows = [
        [
            name,
            own.sum(),
            *(f"{x:.0f}" for x in np.percentile(np.array(sides)[own], (10, 50, 90))),
            *(f"{(best[own] >= iou).mean():.0%}" for iou in IOUS),
            f"{best[own].mean():.2f}",
        ]
        for name, own in groups.items()
    ]
    print(f"anchors {cfg.MODEL.ANCHOR_GENERATOR.SIZES} x {cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS}")
    print(f"on {', '.join(cfg.MODEL.RPN.IN_FEATURES)}, short side {cfg.INPUT.MIN_SIZE_TEST} px")
    heads = ["lesions", "number", *(f"side, {q} % (px)" for q in (10, 50, 90))]
    print(tabulate(rows, [*heads, *(f"IoU {x:g}" for x in IOUS), "mean IoU"]))


if __name__ == "__main__":
    run_script(main)
