#!/usr/bin/env python3
"""Draw chest CT phantoms with exact lesion masks, as a data set ready for training.

The same seed gives the same bytes, on any number of threads.
"""

import argparse
from pathlib import Path

from ctmasknet.command_line import run_script
from ctmasknet.data.builtin import datasets_root
from ctmasknet.data.phantom import write_phantom


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    default = datasets_root() / "phantom"
    parser.add_argument("--output", type=Path, default=default, help="folder to make")
    parser.add_argument("--patients", type=int, default=174, help="shared evenly over the classes")
    parser.add_argument("--slices", type=int, default=5, help="slices of each patient")
    parser.add_argument("--size", type=int, default=512, help="height and width in pixels")
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    parser.add_argument(
        "--split",
        type=float,
        nargs=3,
        default=(20, 3, 6),
        metavar=("TRAIN", "VAL", "TEST"),
        help="weights of the patient-disjoint splits",
    )
    parser.add_argument("--threads", type=int, default=2, help="that draw at the same time")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier phantom")
    return parser.parse_args()


def main() -> None:
    print(write_phantom(**vars(parse_args())))


if __name__ == "__main__":
    run_script(main)
