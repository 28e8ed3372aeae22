#!/usr/bin/env python3
"""Make a downloaded lesion data set ready for training under its registered names.

    prepare_lesion_dataset.py cncb      cncb_lesion_train, _val, _test
    prepare_lesion_dataset.py medseg    medseg_lesion_train, _val, _test

Reads slices and masks under $DETECTRON2_DATASETS (default: datasets), laid out as
datasets/README.md says, and writes lesion_{train,val,test}.json beside them. GGO and consolidation
stay apart, and lesions of all sizes stay in: a model's config says what becomes of them
(INPUT.MASK_TYPE, MIN_LESION_AREA).
"""

import argparse
from pathlib import Path

from ctmasknet.command_line import add_skip_bad, new_parser, print_skipped, run_script
from ctmasknet.data.builtin import LESION_TREES
from ctmasknet.data.prepare import prepare_lesion_dataset
from ctmasknet.volumes.window import say_windowed_once


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("dataset", choices=LESION_TREES)
    parser.add_argument(
        "--root", type=Path, help="folder of the data set, if not $DETECTRON2_DATASETS/<name>"
    )
    parser.add_argument(
        "--split",
        type=float,
        nargs=3,
        default=(0.7, 0.1, 0.2),
        metavar=("TRAIN", "VAL", "TEST"),
        help="shares of the patients (of the slices where patients are unknown); default: "
        "0.7 0.1 0.2",
    )
    parser.add_argument(
        "--lists",
        nargs=2,
        metavar=("TRAIN.txt", "TEST.txt"),
        help="split by published lists of file names instead",
    )
    parser.add_argument(
        "--val-fraction",
        type=float,
        default=0.0,
        metavar="F",
        help="with --lists: share of the training patients kept for validation (default: none)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: %(default)s)")
    parser.add_argument(
        "--by-rank",
        action="store_true",
        help="cncb: read mask values by their rank in the slice, as the author's code does, into "
        "cncb_lesion_by_rank_*; for comparison only, it calls lesions wrongly",
    )
    add_skip_bad(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    say_windowed_once()
    print(prepare_lesion_dataset(**vars(args)))
    print_skipped(args.errors)


if __name__ == "__main__":
    run_script(main)
