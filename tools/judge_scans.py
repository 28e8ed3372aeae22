#!/usr/bin/env python
"""Judge predicted scans by slice labels of radiologists.

    ctmasknet predict scans/ --model MODEL --output results
    judge_scans.py results labels.csv --names ctmasknet-names.csv

LABELS has the columns file (folder/name of a DICOM slice) and infected (0 or 1). For each scan: how
well the lesion area of a slice ranks the infected ones above the others (AUROC), how much lesion
there is, and which share of the lung it is. Research use only, not for diagnosis.
"""

import argparse
from pathlib import Path

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.data.slice_labels import read_slice_labels
from ctmasknet.evaluation.scan_labels import JudgedScan, judge_results
from ctmasknet.pseudonyms import Names

HEAD = """\
| scan | slices | infected | AUROC | lesion, ml | share of the lung |
|---|--:|--:|--:|--:|--:|"""


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("results", type=Path, help="--output of ctmasknet predict")
    parser.add_argument("labels", type=Path, help="CSV")
    parser.add_argument("--column", default="infected", help="of the label (default: %(default)s)")
    parser.add_argument("--names", type=Path, help="the file of names of results with pseudonyms")
    return parser.parse_args()


def row(scan: JudgedScan) -> str:
    ranks = f"{scan.auroc:.3f}" if 0 < scan.infected.sum() < len(scan.infected) else "–"
    volume = "–" if scan.volume_ml is None else f"{scan.volume_ml:,.1f}"
    share = "–" if scan.share_of_lung is None else f"{scan.share_of_lung:.2%}"
    cells = (scan.name, len(scan.infected), scan.infected.sum(), ranks, volume, share)
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    args = parse_args()
    print(HEAD)
    labels = read_slice_labels(args.labels, args.column)
    names = Names.existing(args.names) if args.names else None
    for scan in judge_results(args.results, labels, names):
        print(row(scan))


if __name__ == "__main__":
    run_script(main)
