#!/usr/bin/env python3
"""Turn folders of CT slices and value masks into COCO JSON for training a lesion model.

IMAGES and MASKS are matched by relative path without extension: image/12/55.jpg belongs to
mask/12/55.png. Image paths in OUT are relative to OUT's folder, so move them together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ctmasknet.command_line import add_skip_bad, new_parser, print_skipped, run_script
from ctmasknet.data.classes import LESION_CLASSES, MASK_PRESETS, MIN_LESION_AREA, MaskValues
from ctmasknet.data.lesion_masks import coco_from_pairs
from ctmasknet.data.lesion_parts import write_parts
from ctmasknet.data.mask_pairs import pair_files, with_flattened_patients
from ctmasknet.data.splits import split_coco
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
        metavar='"1=GGO,2=C"',
        help="meaning of every non-zero value: GGO, C, lesion or background",
    )
    parser.add_argument(
        "--mask-type",
        choices=LESION_CLASSES,
        default="merge",
        help="both: GGO and C; merge: one class; ggo: C is background (default: merge)",
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
    if args.output.suffix.lower() != ".json" or args.output.is_dir():
        raise ValueError(f"{args.output}: expected the name of a .json file to write")
    if args.min_area < 0:
        raise ValueError(f"--min-area {args.min_area}: expected 0 or more pixels")
    given = args.values is not None
    values = MaskValues.parse(args.values) if given else MASK_PRESETS[args.preset]
    # Said aloud: the wrong preset reads GGO as lung without any error.
    print("mask values:", ", ".join(f"{value} {name}" for value, name in values.names.items()))
    say_windowed_once()
    pairs = pair_files(args.images, args.masks, args.errors)
    if not given and args.preset == "cncb":
        pairs = with_flattened_patients(pairs)
    coco = coco_from_pairs(
        pairs,
        args.output.parent,
        values,
        args.mask_type,
        args.min_area,
        whole_images=True,
        errors=args.errors,
    )
    parts = {"": coco}
    if args.val_fraction is not None:
        if not 0 < args.val_fraction < 1:
            raise ValueError(f"--val-fraction {args.val_fraction}: expected between 0 and 1")
        weights = {"train": 1 - args.val_fraction, "val": args.val_fraction}
        parts = split_coco(coco, weights, args.seed)
    print(write_parts(parts, args.output))
    print_skipped(args.errors)


if __name__ == "__main__":
    run_script(main)
