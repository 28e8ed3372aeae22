"""`ctmasknet prepare volumes`, `covidx`, `split` and `phantom`: slices with their lists."""

import argparse
from pathlib import Path

from ..command_line import (
    add_names,
    add_skip_bad,
    new_subparser,
    open_names,
    options_of,
    print_skipped,
)
from ..data.builtin import datasets_root
from ..data.covidx import LIST_LINE
from ..data.phantom import write_phantom
from ..data.prepare import prepare_covidx
from ..data.splits import split_file
from ..data.window import WINDOWS, Window, say_windowed_once
from ..lung import FIELDS
from ..volumes.volume_slices import VolumeEntry, read_volume_list, write_slices

_VOLUMES = """Cut CT volumes into windowed 8-bit slices with the image list that training reads.

A volume is a folder or zip of DICOM files or images, or a NIfTI, MetaImage or NRRD file. Name a
list of them (CSV file,label,patient,scan; `file` is relative to the list), or the volumes
themselves with one --label. Writes DIR/slices/{scan}/{z}.png, from the feet to the head, and
DIR/slices.csv. Without a list, patient and scan are those in the DICOM files, or the file's name;
in DIR they are pseudonyms, the same for a patient in every run that shares the file --names.
With --field-of-view lung or body, the slices of a scan are cropped to the box of all its lung or
body and 10 mm more: what is read from them is in pixels of the crop. With --slice-labels, what
radiologists said of single slices stands beside them in the list.

  ctmasknet prepare volumes scans.csv --output slices
  ctmasknet prepare volumes scan1.zip scan2.nii.gz --label COVID-19 --output slices
  ctmasknet prepare volumes healthy.zip --label Control --field-of-view lung --output healthy
"""
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
Each part is written beside it, or to --output, as <stem>_<part>.csv or .json.
"""
_PHANTOM = """Draw chest CT phantoms with exact lesion masks, as a data set ready for training.

The same seed gives the same bytes, on any number of threads.

  ctmasknet prepare phantom --size 256
"""


def add_volumes(parts: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(
        parts, "volumes", _VOLUMES, _run_volumes, help="CT volumes to slices and their list"
    )
    parser.add_argument(
        "inputs", type=Path, nargs="+", metavar="INPUT", help="a list.csv, or volumes"
    )
    parser.add_argument("--label", help="class name or number of the volumes named here")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make")
    add_names(parser, "the list and its folders")
    parser.add_argument(
        "--window",
        default="lung",
        help=f"WIDTH,LEVEL in HU, or one of {', '.join(WINDOWS)} (default: lung, the papers'); "
        "8-bit volumes are taken to have it",
    )
    parser.add_argument(
        "--field-of-view",
        choices=FIELDS,
        default="image",
        help="what of the slices is written; lung leaves slices without lung out, and a scan in "
        "which none is found is an error (default: %(default)s, all)",
    )
    parser.add_argument("--series", metavar="UID", help="SeriesInstanceUID to take of several")
    parser.add_argument(
        "--slice-labels",
        type=Path,
        metavar="CSV",
        help="columns to write beside the slices, as infected; its column file has folder/name of "
        "the DICOM files",
    )
    add_skip_bad(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace earlier slices in DIR")


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


def _run_volumes(args: argparse.Namespace) -> None:
    entries = _volume_entries(args)
    names = open_names(args)
    table = write_slices(
        entries,
        args.output,
        window=Window.parse(args.window),
        series=args.series,
        field_of_view=args.field_of_view,
        slice_labels=args.slice_labels,
        errors=args.errors,
        overwrite=args.overwrite,
        names=names,
    )
    print(table)
    print(f"{args.output / 'slices.csv'}: the list of the slices")
    if names:
        print(f"{names.path}: whose the pseudonyms are; keep it to yourself")
    print_skipped(args.errors)


def _volume_entries(args: argparse.Namespace) -> list[VolumeEntry]:
    lists = [path for path in args.inputs if path.suffix.lower() == ".csv"]
    if lists:
        if len(args.inputs) > 1 or args.label is not None:
            raise ValueError(
                f"{lists[0]}: expected this list alone, without --label: it has labels"
            )
        return read_volume_list(lists[0], args.errors)
    if not args.label:
        raise ValueError("no --label: name the class of these volumes, or give a list (CSV)")
    return [VolumeEntry(path, args.label) for path in args.inputs]


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
