"""`ctmasknet prepare covidx`, `split` and `phantom`: slices with their lists."""

import argparse
from pathlib import Path

from ..command_line import (
    add_skip_bad,
    new_subparser,
    options_of,
    print_skipped,
)
from ..data.builtin import datasets_root
from ..data.covidx import LIST_LINE
from ..data.list_paths import add_data_root
from ..data.phantom import write_phantom
from ..data.prepare import prepare_covidx
from ..data.splits import split_file
from ..data.window import say_windowed_once

_COVIDX = """Turn a split list of COVIDx-CT into an image list, whole or a sample of it.

  ctmasknet prepare covidx train_COVIDx_CT-1.txt train3000.csv --images images --per-class 1000
  ctmasknet prepare covidx train_COVIDx_CT-1.txt train3000.csv --images images --sample names.txt

The first draws 1,000 slices of each class, as many as the papers train on; the second takes the
slices that a list names, such as the author's 3,000. OUT.csv (file, label, patient, scan, source,
body box) can be given wherever a data set's name is expected.
"""
_SPLIT = """Split a data set into parts without a shared patient, stratified by label.

  ctmasknet prepare split slices.csv                             70 % train, 10 % val, 20 % test
  ctmasknet prepare split lesions.json --parts train=4 test=1
  ctmasknet prepare split train_COVIDx_CT-1.txt --images images --seed 3

DATA is an image list (.csv), a COCO file of lesions (.json) or a split list of COVIDx-CT (.txt).
Each part is written beside it, or to --output, as <stem>_<part>.csv or .json; elsewhere than the
images, it is read with --data-root.
"""
_PHANTOM = """Draw chest CT phantoms with exact lesion masks, as a data set ready for training.

The same seed gives the same bytes, on any number of threads.

  ctmasknet prepare phantom --size 256
"""


def add_covidx(parts: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(
        parts, "covidx", _COVIDX, _run_covidx, help="a list of COVIDx-CT to an image list"
    )
    parser.add_argument("list_file", type=Path, metavar="LIST.txt", help=f"lines of `{LIST_LINE}`")
    parser.add_argument("output", type=Path, metavar="OUT.csv")
    parser.add_argument("--images", type=Path, required=True, help="folder of the images")
    parser.add_argument("--metadata", type=Path, help="metadata.csv, for each patient's source")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--per-class", type=int, metavar="N", help="draw N slices of each class")
    which.add_argument("--sample", type=Path, metavar="NAMES.txt", help="take the slices named")
    parser.add_argument("--seed", type=int, default=0, help="of --per-class (default: %(default)s)")
    add_skip_bad(parser)
    add_data_root(parser)


def add_split(parts: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(
        parts, "split", _SPLIT, _run_split, help="a data set to parts without a shared patient"
    )
    parser.add_argument("data", type=Path, metavar="DATA", help=".csv, .json or .txt")
    parser.add_argument(
        "--parts",
        type=_parse_part,
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
    add_data_root(parser)


def add_phantom(parts: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(
        parts, "phantom", _PHANTOM, _run_phantom, help="drawn slices with lesions and classes"
    )
    default = datasets_root() / "phantom"
    add = parser.add_argument
    add("--output", type=Path, default=default, help=f"folder to make (default: {default})")
    add("--patients", type=int, default=174, help="shared evenly over the classes (default: 174)")
    add("--slices", type=int, default=5, help="slices of each patient (default: 5)")
    add("--size", type=int, default=512, help="height and width in pixels (default: 512)")
    add("--seed", type=int, default=0, help="of everything random (default: 0)")
    add(
        "--split",
        type=float,
        nargs=3,
        default=(20, 3, 6),
        metavar=("TRAIN", "VAL", "TEST"),
        help="weights of the patient-disjoint splits (default: 20 3 6)",
    )
    add("--threads", type=int, default=2, help="that draw at the same time (default: 2)")
    add("--overwrite", action="store_true", help="replace an earlier phantom")


def _run_covidx(args: argparse.Namespace) -> None:
    say_windowed_once()
    print(prepare_covidx(**options_of(args)))
    print_skipped(args.errors)


def _parse_part(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}': expected NAME=SHARE, as train=0.7") from None


def _run_split(args: argparse.Namespace) -> None:
    weights = dict(args.parts)
    if len(weights) != len(args.parts):
        raise ValueError("--parts: two parts have the same name")
    output = args.output or args.data.parent
    files = (args.images, args.metadata)
    print(split_file(args.data, weights, args.seed, output, *files, args.errors))
    print_skipped(args.errors)


def _run_phantom(args: argparse.Namespace) -> None:
    print(write_phantom(**options_of(args)))
