#!/usr/bin/env python
"""Look for leaks between the splits of a data set, and for damaged files and confounders in it.

    tools/audit_dataset.py train.csv val.csv test.csv --output DIR
    tools/audit_dataset.py phantom_lesion_both_train phantom_lesion_both_test --output DIR
    tools/audit_dataset.py --covidx train=train_COVIDx_CT-1.txt test=test_COVIDx_CT-1.txt \\
        --metadata metadata.csv [--images 2A_images] --output DIR
    tools/audit_dataset.py --folders train=image,mask val=image_val,mask_val --preset cncb \\
        --output DIR

Each data set given is one split: registered names, .csv (image lists) and .json (COCO) files,
split lists of COVIDx-CT, or folders of images and masks. Prints what it finds and writes
DIR/audit.json (everything) and DIR/audit.html (for reading). A leak is a patient, a scan or an
image in two splits; all else is a problem to know of. Exit code: 0 no leak, 1 leaks, 2 the audit
could not be done. Research use only, not for diagnosis.
"""

import shlex
import sys
from pathlib import Path

from ctmasknet.audit.findings import LEAKS
from ctmasknet.audit.near_duplicates import NEAR_BITS
from ctmasknet.audit.records import splits_of_covidx, splits_of_datasets, splits_of_folders
from ctmasknet.audit.report import as_text, write_report
from ctmasknet.audit.run import run_audit
from ctmasknet.command_line import new_parser
from ctmasknet.data.classes import MASK_PRESETS, MaskValues
from ctmasknet.extras import MissingExtraError


def parse_args(argv=None):
    parser = new_parser(__doc__)
    parser.add_argument("datasets", nargs="*", metavar="DATASET", help="name, .csv or .json")
    parser.add_argument("--output", required=True, type=Path, help="folder for the report")
    parser.add_argument(
        "--covidx", nargs="+", default=[], metavar="SPLIT=LIST", help="split lists of COVIDx-CT"
    )
    parser.add_argument("--images", type=Path, help="folder of the images of --covidx")
    parser.add_argument("--metadata", type=Path, help="metadata.csv of --covidx, for the sources")
    parser.add_argument(
        "--sample", type=Path, help="list of names: count how many are in each split of --covidx"
    )
    parser.add_argument(
        "--folders",
        nargs="+",
        default=[],
        metavar="SPLIT=IMAGES,MASKS",
        help="folders of images and value masks, paired by relative path without extension",
    )
    values = parser.add_mutually_exclusive_group()
    values.add_argument("--preset", choices=MASK_PRESETS, help="the masks' values")
    values.add_argument("--values", help='the masks\' values, as in "1=GGO,2=C,3=background"')
    parser.add_argument(
        "--near",
        type=int,
        default=NEAR_BITS,
        metavar="BITS",
        help="of 256 by which nearly identical images may differ (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    if not (args.datasets or args.covidx or args.folders):
        parser.error("nothing to audit: give a DATASET, --covidx or --folders")
    if not args.covidx and (args.images or args.metadata or args.sample):
        parser.error("--images, --metadata and --sample belong to --covidx")
    if bool(args.folders) != bool(args.preset or args.values):
        parser.error("--folders needs --preset or --values, and they belong to --folders")
    if not 0 <= args.near <= 256:
        parser.error(f"--near {args.near}: expected 0 to 256")
    return args


def named(items, parts, form):
    """Split "name=a,b" into (name, Path(a), Path(b))."""
    found = []
    for item in items:
        name, _, rest = item.partition("=")
        paths = rest.split(",", parts - 1)
        if not name or len(paths) != parts or not all(paths):
            raise ValueError(f"'{item}': expected {form}")
        found.append((name, *map(Path, paths)))
    return found


def gather(args):
    splits = splits_of_datasets(args.datasets)
    lists = named(args.covidx, 1, "SPLIT=LIST")
    if args.images and not args.images.is_dir():
        raise FileNotFoundError(f"{args.images}: no such folder (--images)")
    splits += splits_of_covidx(lists, args.images, args.metadata)
    if args.folders:
        values = MASK_PRESETS[args.preset] if args.preset else MaskValues.parse(args.values)
        splits += splits_of_folders(named(args.folders, 2, "SPLIT=IMAGES,MASKS"), values)
    return splits


def main(argv=None) -> int:
    args = parse_args(argv)
    try:
        if args.output.exists() and not args.output.is_dir():
            raise ValueError(f"{args.output}: is a file, expected a folder for the report")
        audit = run_audit(gather(args), args.sample, args.near)
        write_report(audit, args.output, shlex.join(sys.argv))
    except (OSError, ValueError, KeyError, MissingExtraError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(as_text(audit))
    print(f"Written to {args.output}: audit.json, audit.html")
    return int(any(finding.kind in LEAKS for finding in audit.findings))


if __name__ == "__main__":
    sys.exit(main())
