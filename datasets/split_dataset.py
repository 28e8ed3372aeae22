#!/usr/bin/env python3
"""Split a data set into parts without a shared patient, stratified by label.

    split_dataset.py slices.csv                             70 % train, 10 % val, 20 % test
    split_dataset.py lesions.json --parts train=4 test=1
    split_dataset.py train_COVIDx_CT-1.txt --images images --seed 3

DATA is an image list (.csv), a COCO file of lesions (.json) or a split list of COVIDx-CT (.txt).
Each part is written beside it, or to --output, as <stem>_<part>.csv or .json.
"""

import argparse
from pathlib import Path

from ctmasknet.command_line import add_skip_bad, new_parser, print_skipped, run_script
from ctmasknet.data.splits import split_file


def parse_part(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}': expected NAME=SHARE, as train=0.7") from None


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("data", type=Path, metavar="DATA", help=".csv, .json or .txt")
    parser.add_argument(
        "--parts",
        type=parse_part,
        nargs="+",
        default=[("train", 0.7), ("val", 0.1), ("test", 0.2)],
        metavar="NAME=SHARE",
        help="shares of the patients (default: train=0.7 val=0.1 test=0.2)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="folder of the parts (default: beside DATA)")
    parser.add_argument("--images", type=Path, help="folder of the images, for a .txt")
    parser.add_argument("--metadata", type=Path, help="COVIDx-CT's metadata.csv, for a .txt")
    add_skip_bad(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    weights = dict(args.parts)
    if len(weights) != len(args.parts):
        raise ValueError("--parts: two parts have the same name")
    output = args.output or args.data.parent
    files = (args.images, args.metadata)
    print(split_file(args.data, weights, args.seed, output, *files, args.errors))
    print_skipped(args.errors)


if __name__ == "__main__":
    run_script(main)
