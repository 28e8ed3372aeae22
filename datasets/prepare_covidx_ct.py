#!/usr/bin/env python3
"""Turn a split list of COVIDx-CT into an image list, whole or a sample of it.

    prepare_covidx_ct.py train_COVIDx_CT-1.txt train3000.csv --images images --per-class 1000
    prepare_covidx_ct.py train_COVIDx_CT-1.txt train3000.csv --images images --sample names.txt

The first draws 1,000 slices of each class, as many as the papers train on; the second takes the
slices that a list names, such as the author's 3,000. OUT.csv (file, label, patient, scan, source,
body box) can be given wherever a data set's name is expected.
"""

import argparse
from pathlib import Path

from ctmasknet.command_line import add_skip_bad, new_parser, print_skipped, run_script
from ctmasknet.data.covidx import LIST_LINE
from ctmasknet.data.prepare import prepare_covidx
from ctmasknet.volumes.window import say_windowed_once


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("list_file", type=Path, metavar="LIST.txt", help=f"lines of `{LIST_LINE}`")
    parser.add_argument("output", type=Path, metavar="OUT.csv")
    parser.add_argument("--images", type=Path, required=True, help="folder of the images")
    parser.add_argument("--metadata", type=Path, help="metadata.csv, for each patient's source")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--per-class", type=int, metavar="N", help="draw N slices of each class")
    which.add_argument("--sample", type=Path, metavar="NAMES.txt", help="take the slices named")
    parser.add_argument("--seed", type=int, default=0, help="of --per-class (default: %(default)s)")
    add_skip_bad(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    say_windowed_once()
    print(prepare_covidx(**vars(args)))
    print_skipped(args.errors)


if __name__ == "__main__":
    run_script(main)
