#!/usr/bin/env python3
"""Turn folders of CT slices and value masks into COCO JSON for training a lesion model.

IMAGES and MASKS are matched by relative path without extension: image/12/55.jpg belongs to
mask/12/55.png. Image paths in OUT are relative to OUT's folder, so move them together.
"""

import argparse
from pathlib import Path

from ctmasknet.command_line import add_skip_bad, new_parser, print_skipped, run_script
from ctmasknet.data.classes import MASK_PRESETS, MIN_LESION_AREA
from ctmasknet.data.prepare import prepare_lesion_masks
from ctmasknet.volumes.window import say_windowed_once


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("images", type=Path, help="folder of 8-bit grey or RGB slices")
    parser.add_argument("masks", type=Path, help="folder of 8-bit masks (values = classes)")
    parser.add_argument("output", type=Path, metavar="OUT.json")
    meaning = parser.add_mutually_exclusive_group()
    meaning.add_argument(
        "--preset",
        choices=MASK_PRESETS,
        default="cncb",
        help="cncb: 1 lung (background), 2 GGO, 3 C; medseg: 1 GGO, 2 C, 3 pleural effusion "
        "(background) (default: cncb)",
    )
    meaning.add_argument(
        "--values",
        metavar='"1=nodule,2=cavity"',
        help="meaning of every non-zero value: the name of a lesion class, or background",
    )
    parser.add_argument(
        "--mask-type",
        metavar="RULE",
        help="which classes are kept: both (GGO and C), merge (all in one), ggo (C is background), "
        "or a rule such as nodule,cavity or opacity=GGO+C,effusion; '' keeps all (default: merge, "
        "or '' where --values has classes other than GGO and C)",
    )
    parser.add_argument(
        "--min-area",
        type=int,
        default=MIN_LESION_AREA,
        metavar="PX",
        help="components of at most PX pixels are background (default: %(default)s)",
    )
    parser.add_argument(
        "--val-fraction",
        type=float,
        metavar="F",
        help="also split: write OUT_train.json and OUT_val.json instead of OUT.json, F of the "
        "patients in the latter (first folder of the relative path, or with cncb flat names "
        "{patient}_{slice}; of the slices where patients are unknown)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: %(default)s)")
    add_skip_bad(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    say_windowed_once()
    print(prepare_lesion_masks(**vars(args)))
    print_skipped(args.errors)


if __name__ == "__main__":
    run_script(main)
