#!/usr/bin/env python
"""Train the lesion model "medseg" of the package, from data to file.

    train_medseg.py --medseg MEDSEG --scans COVID_CT_MD --output output/medseg

MEDSEG has the folders images and masks, slices of MedSeg's COVID-19 CT segmentation dataset. SCANS
has a folder of DICOM files for each scan, and labels.csv with the columns file (folder/name) and
infected: slices with lung that radiologists called uninfected teach healthy lung. --leave-out keeps
a scan for judging. It takes about an hour on one core. Research use only, not for diagnosis.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import cv2

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.data.lesion_free import prepare_lesion_free
from ctmasknet.data.prepare import prepare_lesion_masks
from ctmasknet.data.window import Window
from ctmasknet.evaluation.scan_labels import read_slice_labels
from ctmasknet.lung import FieldOfView, find_lung, has_lung
from ctmasknet.volumes.volume_files import read_volume

# The first step learns lesions on the 40 slices that are not in fold 0, by which it is judged; the
# second goes on with all slices.
FIRST, SECOND = "recipe/lesions_R18_T1", "recipe/healthy_R18_T1"
WINDOW = Window(1400, -420)  # of MedSeg's slices, by the grey values of their lung and tissue
TERMS = (
    "Trained on 50 slices of MedSeg's COVID-19 CT segmentation dataset (SIRM), free to use with "
    "acknowledgement, and on uninfected slices of COVID-CT-MD. Research use only."
)


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--medseg", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--scans", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--leave-out", default="", metavar="SCAN", help="folder that is not used")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    return parser.parse_args()


def write_healthy(scans: Path, leave_out: str, output: Path, like: Path) -> None:
    """Write the uninfected slices of scans, cropped to the lung of their scan, and their COCO file.

    Args:
        scans: folders of DICOM files, and labels.csv.
        leave_out: name of a folder that is not read, or "".
        output: folder for slices.csv, healthy.json and the slices.
        like: COCO file of lesions whose classes it gets.
    """
    infected = read_slice_labels(scans / "labels.csv")
    output.mkdir(parents=True, exist_ok=True)
    with (output / "slices.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "patient"])
        for folder in sorted(x for x in scans.iterdir() if x.is_dir() and x.name != leave_out):
            volume = read_volume(folder)
            lung = find_lung(volume.hu, volume.spacing)
            box = FieldOfView("lung").find(volume.hu, volume.spacing, lung)
            x0, y0, x1, y1 = box or (0, 0, *volume.hu.shape[:0:-1])
            for z, shown in enumerate(has_lung(lung.mask, volume.spacing)):
                name = f"{folder.name}/{Path(volume.slice_files[z]).name}"
                if shown and not infected[name]:
                    file = f"{folder.name}_{z:03d}.png"
                    cv2.imwrite(str(output / file), volume.slice(z, WINDOW)[y0:y1, x0:x1])
                    writer.writerow([file, folder.name])
    print(prepare_lesion_free(output / "slices.csv", output / "healthy.json", like))


def main() -> None:
    args = parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    lesions = args.output / "lesions.json"
    masks = (args.medseg / "images", args.medseg / "masks")
    print(prepare_lesion_masks(*masks, lesions, "medseg", None, "", 0))
    healthy = args.output / "healthy"
    write_healthy(args.scans, args.leave_out, healthy, lesions)
    first, run = args.output / "first", args.output / "run"
    validate = Path(__file__).with_name("cross_validate.py")
    call(validate, "--data", lesions, "--config-file", FIRST, "--output", first, "--only", "0")
    data = ["--train", lesions, "--train", healthy / "healthy.json"]
    weights = ["--weights", first / "fold_0" / "model_final.pth"]
    window = ["INPUT.WINDOW", f"({WINDOW})"]
    call("-m", "ctmasknet", "train", SECOND, *data, *weights, "--output", run, *window)
    file, weights = args.output / "medseg.safetensors", ["--weights", run / "model_final.pth"]
    what = ["--name", "medseg", "--terms", TERMS, "--opts", "INPUT.FIELD_OF_VIEW", "lung"]
    call("-m", "ctmasknet", "pack", run / "config.yaml", file, *weights, *what)


def call(*command: str | Path) -> None:
    """Run Python with these arguments; a SystemExit if it fails."""
    code = subprocess.run([sys.executable, *map(str, command)], check=False).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    run_script(main)
