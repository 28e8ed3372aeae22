#!/usr/bin/env python
"""Measure `ctmasknet predict` from DICOM to report, as a whole command and by stage.

    tools/benchmark_scan.py SERIES --model RUN --lesion-model medseg
    tools/benchmark_scan.py SERIES --model medseg --slices 168 --scans 3 --before OLD_CLONE

A series can be given more slices, put between its own, and several scans: what each further one
takes is told apart. --before measures another clone of the repository, too, in turns with this one.
Stages that run beside each other add up to more than the whole.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from tabulate import tabulate
from tqdm import tqdm

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.provenance import machine
from ctmasknet.volumes import read_volume

ROOT = Path(__file__).parents[1]


# Module and function -> its stage.
STAGES = {
    "inference.predictor:Predictor:__init__": "models",
    "inference.inputs:Input:read": "reading",
    "quantification.lung_source:LungSource:of_scan": "lung",
    "inference.loaded_model:LoadedModel:__call__": "networks",
    "quantification.build_case:quantify": "measures",
    "report.case_files:write_report": "report",
    "quantification.dicom_seg:write_dicom_seg": "DICOM SEG",
    "report.case_files:write_nifti_mask": "NIfTI",
}
# Runs the command with a clock around each of them: its words are the time of its start, STAGES and
# those of `ctmasknet`.
PROGRAM = """
import functools, importlib, json, sys, time
begun, stages = float(sys.argv[1]), json.loads(sys.argv[2])
from ctmasknet.__main__ import main
import ctmasknet.commands.predict
spent = {"import": time.time() - begun, **dict.fromkeys(stages.values(), 0.0)}

def clock(owner, name, stage):
    inner = getattr(owner, name)
    @functools.wraps(inner)
    def outer(*args, **kwargs):
        start = time.perf_counter()
        try:
            return inner(*args, **kwargs)
        finally:
            spent[stage] += time.perf_counter() - start
    setattr(owner, name, outer)

for place, stage in stages.items():
    module, *owners, name = place.split(":")
    owner = functools.reduce(getattr, owners, importlib.import_module("ctmasknet." + module))
    clock(owner, name, stage)
code = 0
try:
    main(sys.argv[3:])
except SystemExit as end:
    code = end.code
print("STAGES", json.dumps({**spent, "whole command": time.time() - begun}))
sys.exit(code)
"""


def main() -> None:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("series", type=Path, metavar="SERIES", help="a folder with a DICOM series")
    add("--model", required=True, help="as of `ctmasknet predict`")
    add("--lesion-model", help="as of `ctmasknet predict`")
    add("--slices", type=int, help="that the series is given (default: its own)")
    add("--scans", type=int, default=1, help="of one command (default: 1)")
    add("--before", type=Path, metavar="CLONE", help="measured in turns with this one")
    add("--turns", type=int, default=3, help="(default: %(default)s; one more comes first)")
    run_script(lambda: measure(parser.parse_args()))


def measure(args: argparse.Namespace) -> None:
    """Measure, and print a table."""
    clones = {"before": args.before.resolve()} if args.before else {}
    clones["now"] = ROOT
    about = machine()
    print(f"{about['processor']}, {about['cores']} cores; medians of {args.turns} turns, seconds\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scans = [folder / "scans" / str(i) for i in range(args.scans)]
        for scan in tqdm(scans, "series", leave=False):
            write_series(args.series, scan, args.slices)
        found: dict[str, list[dict[str, float]]] = {}
        for turn in tqdm(range(args.turns + 1), "turns", leave=False):
            for number in sorted({1, args.scans}):
                for name, clone in clones.items():
                    output = folder / "output"
                    shutil.rmtree(output, ignore_errors=True)
                    spent = run(clone, scans[:number], output, args)
                    if turn:  # the first one warms up the disk's cache
                        found.setdefault(f"{name}, {number} scan(s)", []).append(spent)
    medians = {
        name: {stage: statistics.median(x[stage] for x in turns) for stage in turns[0]}
        for name, turns in found.items()
    }
    stages = [*next(iter(medians.values()))]
    rows = [[stage, *(times[stage] for times in medians.values())] for stage in stages]
    print(tabulate(rows, ["stage", *medians], floatfmt=".1f"))


def run(clone: Path, scans: list[Path], output: Path, args: argparse.Namespace) -> dict:
    """Run the command in a clone; return the seconds of each stage."""
    words = ["predict", *map(str, scans), "--model", args.model, "--output", str(output)]
    words += ["--lesion-model", args.lesion_model] if args.lesion_model else []
    words += ["--keep-identifiers"]  # with it the DICOM SEG is written
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(time.time()), json.dumps(STAGES), *words],
        env={**os.environ, "PYTHONPATH": str(clone)},
        capture_output=True,
        text=True,
    )
    line = next((x for x in done.stdout.splitlines() if x.startswith("STAGES ")), "")
    if done.returncode or not line:
        raise ValueError(f"{clone}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(line.removeprefix("STAGES "))


def write_series(source: Path, folder: Path, slices: int | None) -> None:
    """Write a series as another one of so many slices, those between its own interpolated."""
    volume = read_volume(source)
    header = pydicom.dcmread(next(p for p in sorted(source.iterdir()) if p.is_file()))
    count = slices or len(volume)
    places = np.linspace(0, len(volume) - 1, count)
    step = volume.spacing[0] * (len(volume) - 1) / max(count - 1, 1)
    folder.mkdir(parents=True)
    header.SeriesInstanceUID, header.StudyInstanceUID = generate_uid(), generate_uid()
    del header.PixelData
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.RescaleIntercept, header.RescaleSlope = -1024, 1
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.PixelRepresentation = 0
    header.SliceThickness = step
    header.Rows, header.Columns = volume.hu.shape[1:]
    header.PixelSpacing = list(volume.spacing[1:])
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    for z, place in enumerate(places):
        low = int(place)
        high, share = min(low + 1, len(volume) - 1), place - low
        hu = (1 - share) * volume.hu[low].astype(float) + share * volume.hu[high]
        header.SOPInstanceUID = generate_uid()
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
        header.ImagePositionPatient, header.InstanceNumber = [0, 0, z * step], z + 1
        stored = np.clip(np.rint(hu) + 1024, 0, 4095).astype("<u2")
        header.add_new("PixelData", "OW", stored.tobytes())
        header.save_as(folder / f"{z:04d}.dcm")


if __name__ == "__main__":
    main()
