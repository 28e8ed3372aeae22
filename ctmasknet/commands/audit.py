"""`ctmasknet audit`: leaks between the splits of a data set, damaged files, confounders."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..audit.findings import LEAKS
from ..audit.near_duplicates import NEAR_BITS
from ..audit.records import Split, splits_of_covidx, splits_of_datasets, splits_of_folders
from ..audit.report import as_text, write_report
from ..audit.run import run_audit
from ..command_line import add_keep_paths, new_subparser, recorded_command
from ..data.classes import MASK_PRESETS, MaskValues
from ..wording import NOTICE

_DESCRIPTION = f"""Look for leaks between the splits of a data set, damaged files and confounders.

  ctmasknet audit train.csv val.csv test.csv --output DIR
  ctmasknet audit phantom_lesion_both_train phantom_lesion_both_test --output DIR
  ctmasknet audit --covidx train=train_COVIDx_CT-1.txt test=test_COVIDx_CT-1.txt \\
      --metadata metadata.csv [--images 2A_images] --output DIR
  ctmasknet audit --folders train=image,mask val=image_val,mask_val --preset cncb --output DIR

Each data set given is one split: registered names, .csv (image lists) and .json (COCO) files,
split lists of COVIDx-CT, or folders of images and masks. Prints what it finds and writes
DIR/audit.json (everything) and DIR/audit.html (for reading). A leak is a patient, a scan or an
image in two splits; all else is a problem to know of. Exit code: 0 no leak, 1 leaks, 2 the audit
could not be done. {NOTICE}
"""


def add_audit(commands: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(commands, "audit", _DESCRIPTION, run_audit_command)
    add = parser.add_argument
    add("datasets", nargs="*", metavar="DATASET", help="name, .csv or .json")
    add("--output", required=True, type=Path, metavar="DIR", help="folder for the report")
    add("--covidx", nargs="+", default=[], metavar="SPLIT=LIST", help="split lists of COVIDx-CT")
    add("--images", type=Path, help="folder of the images of --covidx")
    add("--metadata", type=Path, help="metadata.csv of --covidx, for the sources")
    add("--sample", type=Path, help="list of names: count how many are in each split of --covidx")
    add(
        "--folders",
        nargs="+",
        default=[],
        metavar="SPLIT=IMAGES,MASKS",
        help="folders of images and value masks, paired by relative path without extension",
    )
    add_keep_paths(parser)
    values = parser.add_mutually_exclusive_group()
    values.add_argument("--preset", choices=MASK_PRESETS, help="the masks' values")
    values.add_argument(
        "--values", help='the masks\' values, as in "1=nodule,2=cavity,3=background"'
    )
    add(
        "--near",
        type=int,
        default=NEAR_BITS,
        metavar="BITS",
        help="of 256 by which nearly identical images may differ (default: %(default)s)",
    )


def run_audit_command(args: argparse.Namespace) -> int:
    """Run `ctmasknet audit` and return its exit code, 1 if there are leaks.

    Raises a FileNotFoundError or ValueError if the audit cannot be done.
    """
    _check(args)
    try:
        audit = run_audit(_gather(args), args.sample, args.near)
    except KeyError as error:  # of a data set that another package has registered
        raise ValueError(f"a data set cannot be read: {error}") from error
    write_report(audit, args.output, recorded_command(args), args.keep_identifiers)
    print(as_text(audit))
    print(f"Written to {args.output}: audit.json, audit.html")
    return int(any(finding.kind in LEAKS for finding in audit.findings))


def _check(args: argparse.Namespace) -> None:
    if not (args.datasets or args.covidx or args.folders):
        raise ValueError("nothing to audit: give a DATASET, --covidx or --folders")
    if not args.covidx and (args.images or args.metadata or args.sample):
        raise ValueError("--images, --metadata and --sample belong to --covidx")
    if bool(args.folders) != bool(args.preset or args.values):
        raise ValueError("--folders needs --preset or --values, and they belong to --folders")
    if not 0 <= args.near <= 256:
        raise ValueError(f"--near {args.near}: expected 0 to 256")
    if args.output.exists() and not args.output.is_dir():
        raise ValueError(f"{args.output}: is a file, expected a folder for the report")


def _gather(args: argparse.Namespace) -> list[Split]:
    splits = splits_of_datasets(args.datasets)
    lists = _named(args.covidx, 1, "SPLIT=LIST")
    if args.images and not args.images.is_dir():
        raise FileNotFoundError(f"{args.images}: no such folder (--images)")
    splits += splits_of_covidx(
        [(name, path) for name, (path,) in lists], args.images, args.metadata
    )
    if args.folders:
        values = MASK_PRESETS[args.preset] if args.preset else MaskValues.parse(args.values)
        folders = _named(args.folders, 2, "SPLIT=IMAGES,MASKS")
        splits += splits_of_folders([(name, a, b) for name, (a, b) in folders], values)
    return splits


def _named(items: Sequence[str], parts: int, form: str) -> list[tuple[str, list[Path]]]:
    """Split "name=a,b" into (name, [Path(a), Path(b)])."""
    found = []
    for item in items:
        name, _, rest = item.partition("=")
        paths = rest.split(",", parts - 1)
        if not name or len(paths) != parts or not all(paths):
            raise ValueError(f"'{item}': expected {form}")
        found.append((name, [Path(path) for path in paths]))
    return found
