#!/usr/bin/env python
"""Measure how many lesions a set of anchors can reach, by IoU, at the size the network sees.

    measure_anchors.py --data lesions.json --config-file configs/lesion/R18_T1.yaml
    measure_anchors.py --data lesions.json --config-file configs/recipe/recipe_R18_T1.yaml \\
        MODEL.ANCHOR_GENERATOR.SIZES "[[8, 16, 32, 64, 128]]" INPUT.MIN_SIZE_TEST 384

Recall is the share of lesions whose best anchor overlaps them at least so much. KEY VALUE pairs at
the end override the config.
"""

import argparse
from pathlib import Path

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.engine import load_config
from ctmasknet.engine.anchor_fit import describe_anchor_fit


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="LESIONS.json")
    parser.add_argument("--config-file", required=True, help="of a lesion model")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="of the config")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    print(describe_anchor_fit(load_config(args.config_file, args.opts, False), args.data))


if __name__ == "__main__":
    run_script(main)
