#!/usr/bin/env python3
"""Cut CT volumes into windowed 8-bit slices and write the image list that training reads.

A volume is a folder or zip of DICOM files or images, or a NIfTI, MetaImage or NRRD file. Name a
list of them (CSV file,label,patient,scan; `file` is relative to the list), or the volumes
themselves with one --label. Writes DIR/slices/{scan}/{z}.png, from the feet to the head, and
DIR/slices.csv. Without a list, patient and scan are those in the DICOM files, or the file's name.
"""

import argparse
from pathlib import Path

from ctmasknet.command_line import add_skip_bad, new_parser, print_skipped, run_script
from ctmasknet.errors import ErrorPolicy
from ctmasknet.volumes.volume_slices import VolumeEntry, read_volume_list, write_slices
from ctmasknet.volumes.window import WINDOWS, Window


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument(
        "inputs", type=Path, nargs="+", metavar="INPUT", help="a list.csv, or volumes"
    )
    parser.add_argument("--label", help="class name or number of the volumes named here")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--window",
        default="lung",
        help=f"WIDTH,LEVEL in HU, or one of {', '.join(WINDOWS)} (default: lung, the papers'); "
        "8-bit volumes are taken to have it",
    )
    parser.add_argument("--series", metavar="UID", help="SeriesInstanceUID to take of several")
    add_skip_bad(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace earlier slices in DIR")
    return parser.parse_args()


def entries_of(inputs: list[Path], label: str | None, errors: ErrorPolicy) -> list[VolumeEntry]:
    lists = [path for path in inputs if path.suffix.lower() == ".csv"]
    if lists:
        if len(inputs) > 1 or label is not None:
            raise ValueError(
                f"{lists[0]}: expected this list alone, without --label: it has labels"
            )
        return read_volume_list(lists[0], errors)
    if not label:
        raise ValueError("no --label: name the class of these volumes, or give a list (CSV)")
    return [VolumeEntry(path, label) for path in inputs]


def main() -> None:
    args = parse_args()
    table = write_slices(
        entries_of(args.inputs, args.label, args.errors),
        args.output,
        window=Window.parse(args.window),
        series=args.series,
        errors=args.errors,
        overwrite=args.overwrite,
    )
    print(table)
    print(f"{args.output / 'slices.csv'}: the list of the slices")
    print_skipped(args.errors)


if __name__ == "__main__":
    run_script(main)
