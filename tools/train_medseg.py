#!/usr/bin/env python
"""Train the lesion model "medseg" of the package, from data to file.

    train_medseg.py --medseg MEDSEG --scans COVID_CT_MD --output output/medseg

MEDSEG has the folders images and masks, slices of MedSeg's COVID-19 CT segmentation dataset. SCANS
has a folder of DICOM files for each scan, and labels.csv with the columns file (folder/name) and
infected: slices with lung that radiologists called uninfected teach healthy lung. --leave-out keeps
a scan for judging; --first spares the first step, which sees no scan. Research use only, not for
diagnosis.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.data.list_files import COLUMNS, write_csv

FIRST, SECOND = "recipe/lesions_R18_T1", "recipe/healthy_R18_T1"
WINDOW = "1400,-420"  # HU, of MedSeg's slices, by the grey values of their lung and tissue
TERMS = (
    "Trained on 50 slices of MedSeg's COVID-19 CT segmentation dataset (SIRM), free to use with "
    "acknowledgement, and on uninfected slices of COVID-CT-MD. Research use only."
)


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--medseg", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--scans", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--leave-out", default="", metavar="SCAN", help="folder that is not used")
    parser.add_argument(
        "--first", type=Path, metavar="FILE", help="weights (.pth) that the first step ended with"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    return parser.parse_args()


def write_healthy(scans: Path, leave_out: str, output: Path, like: Path) -> Path:
    """Write the uninfected slices of scans, cropped to their lung, and return their COCO file."""
    folders = sorted(x for x in scans.iterdir() if x.is_dir() and x.name != leave_out)
    output.mkdir(parents=True, exist_ok=True)
    listed = output / "scans.csv"
    rows = [(str(x.resolve()), "Control", x.name, x.name) for x in folders]
    write_csv(listed, COLUMNS, [dict(zip(COLUMNS, row, strict=True)) for row in rows])
    slices, healthy = output / "cropped", output / "healthy.json"
    how = ["--field-of-view", "lung", "--window", WINDOW, "--overwrite"]
    labels = ["--slice-labels", scans / "labels.csv", "--keep-identifiers"]  # public data
    ctmasknet("prepare", "volumes", listed, "--output", slices, *how, *labels)
    found = [slices / "slices.csv", healthy, "--like", like, "--where", "infected=0"]
    ctmasknet("prepare", "lesion-free", *found)
    return healthy


def main() -> None:
    args = parse_args()
    output: Path = args.output
    output.mkdir(parents=True, exist_ok=True)
    lesions, run = output / "lesions.json", output / "run"
    masks = ["--preset", "medseg", "--mask-type", "both", "--min-area", "0"]
    ctmasknet("prepare", "masks", args.medseg / "images", args.medseg / "masks", lesions, *masks)
    healthy = write_healthy(args.scans, args.leave_out, output / "healthy", lesions)
    first: Path | None = args.first
    if first is None:
        ctmasknet("train", FIRST, "--train", lesions, "--output", output / "first")
        first = output / "first" / "model_final.pth"
    data = ["--train", lesions, "--train", healthy, "--weights", first]
    ctmasknet("train", SECOND, *data, "--output", run, "INPUT.WINDOW", f"({WINDOW})")
    file, weights = output / "medseg.safetensors", ["--weights", run / "model_final.pth"]
    what = ["--name", "medseg", "--terms", TERMS, "--opts", "INPUT.FIELD_OF_VIEW", "lung"]
    ctmasknet("pack", run / "config.yaml", file, *weights, *what)


def ctmasknet(*command: str | Path) -> None:
    """Run a command of the package; a SystemExit if it fails."""
    call = [sys.executable, "-m", "ctmasknet", *map(str, command)]
    if code := subprocess.run(call, check=False).returncode:
        sys.exit(code)


if __name__ == "__main__":
    run_script(main)
