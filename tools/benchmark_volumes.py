#!/usr/bin/env python
"""Measure time and memory of reading a CT volume in each format.

    tools/benchmark_volumes.py                       # 512 x 512 x 1000, int16: 524 MB
    tools/benchmark_volumes.py --slices 100 --formats dicom nii.gz
    tools/benchmark_volumes.py --series FOLDER       # a DICOM series of yours: time alone

Writes a made-up volume to a temporary folder and reads it, each format in a fresh process. Peak is
the growth of the process's memory while it reads, in units of the HU that result (Linux only).
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from tabulate import tabulate
from tqdm import tqdm

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.volumes import dicom_series, read_volume

FORMATS = ("dicom", "nii", "nii.gz", "mha", "nrrd")
SIDE = 512
READ = """
import json, re, sys, time
from ctmasknet.volumes import read_volume

def status(key):
    return int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew, without the imports'
before, start = status("VmRSS"), time.perf_counter()
volume = read_volume(sys.argv[1])
read = time.perf_counter() - start
for image in volume.slices():
    pass
print(json.dumps([read, (status("VmHWM") - before) / volume.hu.nbytes]))
"""


def made_up(slices: int) -> np.ndarray:
    """(slices, 512, 512) int16, noise about air: it packs about as badly as CT does."""
    rng = np.random.default_rng(0)
    noise = rng.normal(-700, 200, (SIDE, SIDE))
    volume = np.empty((slices, SIDE, SIDE), np.int16)
    for z in range(slices):
        volume[z] = np.roll(noise, z * 7, axis=0)
    return volume


def write_dicom(volume: np.ndarray, folder: Path) -> None:
    folder.mkdir()
    series = generate_uid()
    for z, pixels in enumerate(volume):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
        dataset.Modality, dataset.PatientID, dataset.SeriesInstanceUID = "CT", "P1", series
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 1, 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        dataset.PixelSpacing, dataset.ImagePositionPatient = [0.7, 0.7], [0, 0, z]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(folder / f"{z:04d}.dcm", enforce_file_format=True)


def measure(volume: np.ndarray, form: str, folder: Path) -> list:
    path = folder / ("dicom" if form == "dicom" else f"volume.{form}")
    if form == "dicom":
        write_dicom(volume, path)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(volume), str(path), useCompression=form == "nrrd")
    command = [sys.executable, "-c", READ, str(path)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, peak = json.loads(answer.splitlines()[-1])
    return [form, seconds, peak]


def decode_times(folder: Path) -> list[list]:
    """Milliseconds a slice, the median of five readings, by threads and by SimpleITK alone."""
    names = list(read_volume(folder).slice_files)

    def whole_series() -> None:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(names)
        reader.Execute()

    def with_threads(count: int) -> None:
        dicom_series._THREADS = count
        read_volume(folder)

    ways = {f"read_volume, {n} thread(s)": partial(with_threads, n) for n in (1, 2, 4)}
    ways["SimpleITK's ImageSeriesReader"] = whole_series
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(5):  # in turns, so that a slower machine slows all
        for way, run in ways.items():
            start = time.perf_counter()
            run()
            times[way].append(1000 * (time.perf_counter() - start) / len(names))
    return [[way, statistics.median(values)] for way, values in times.items()]


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--slices", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument(
        "--type", choices=("int16", "int32", "float64"), default="int16", help="as stored"
    )
    parser.add_argument("--series", type=Path, metavar="FOLDER", help="of DICOM files")
    args = parser.parse_args()
    if args.series:
        print(tabulate(decode_times(args.series), ["", "ms a slice"], floatfmt=".1f"))
        return
    volume = made_up(args.slices).astype(args.type)
    if args.type != "int16" and "dicom" in args.formats:
        raise ValueError(f"--type {args.type}: DICOM stores int16; name other --formats")
    rows = []
    for form in tqdm(args.formats, desc="formats"):
        with tempfile.TemporaryDirectory(prefix="ctmasknet-") as folder:
            rows.append(measure(volume, form, Path(folder)))
    print(f"{SIDE} x {SIDE} x {args.slices} {args.type}, {volume.nbytes / 1e6:.0f} MB")
    print(tabulate(rows, ["format", "read (s)", "peak / size"], floatfmt=("", ".1f", ".2f")))


if __name__ == "__main__":
    run_script(main)
