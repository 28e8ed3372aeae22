#!/usr/bin/env python
"""Draw the lung that is found in scans: a sheet with every slice for each, to look at.

    tools/draw_lung_masks.py scan.nii.gz dicom/ --output sheets

Prints for each scan the seconds it took, the litres of lung, and the slices that show any.
"""

import time
from pathlib import Path

import cv2
import numpy as np

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.figures import VERMILION, rgb
from ctmasknet.inference.inputs import find_inputs
from ctmasknet.lung import find_lung
from ctmasknet.volumes import Volume, read_volume

COLUMNS = 8


def draw_sheet(volume: Volume, mask: np.ndarray, side: int) -> np.ndarray:
    """Draw the outline of (Z, H, W) on all slices, lowest first, with its area in pixels."""
    tiles = []
    for index, part in enumerate(mask):
        tile = cv2.resize(volume.slice(index), (side, side), interpolation=cv2.INTER_AREA)
        small = cv2.resize(part.view(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(small, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outlines, -1, rgb(VERMILION), 1)
        text = f"{index}: {np.count_nonzero(part)}"
        cv2.putText(tile, text, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 0), 1)
        tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    return np.vstack(rows)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("scans", nargs="+", help="scans, or folders of them")
    parser.add_argument("--output", required=True, type=Path, help="folder for the sheets")
    parser.add_argument("--side", type=int, default=256, help="of a slice, in pixels")
    args = parser.parse_args()
    inputs, problems, _ = find_inputs(args.scans)
    args.output.mkdir(parents=True, exist_ok=True)
    for scan in (item for item in inputs if item.is_scan):
        volume = read_volume(scan.path, files=scan.files)
        started = time.perf_counter()
        try:
            mask = find_lung(volume.hu, volume.spacing if volume.measured else None).mask
        except ValueError as error:
            problems.append(f"{scan.name}: {error}")
            continue
        seconds = time.perf_counter() - started
        litres = np.count_nonzero(mask) * np.prod(volume.spacing) / 1e6
        shown = np.flatnonzero(mask.any(axis=(1, 2)))
        print(
            f"{scan.name}: {len(mask)} slices in {seconds:.2f} s, {litres:.2f} l, lung on slices "
            f"{shown[0]} to {shown[-1]}"
        )
        sheet = draw_sheet(volume, mask, args.side)
        cv2.imwrite(str(args.output / f"{scan.name}.png"), sheet[..., ::-1])
    if problems:
        raise ValueError("\n  ".join(problems))


if __name__ == "__main__":
    run_script(main)
