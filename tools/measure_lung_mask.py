#!/usr/bin/env python
"""Measure how well the classical method finds the lungs of phantoms, whose lungs are known.

    tools/measure_lung_mask.py --patients 60 --slices 20

The slices of a patient make one volume; each slice is also searched on its own, as loose 8-bit
images are. Growing adds the true lesions that touch the lung that was found.
"""

from dataclasses import dataclass, field

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.data.classes import IMAGE_CLASSES
from ctmasknet.data.phantom import draw_patient, draw_slice, window
from ctmasknet.data.phantom.anatomy import draw_shapes
from ctmasknet.data.phantom.patient import CHEST_HEIGHT, LAST_SLICE
from ctmasknet.data.window import LUNG
from ctmasknet.lung import UNKNOWN_WIDTH, find_lung
from ctmasknet.quantification.grown_lung import grown_lung

FIRST, LAST = 0.2, 0.8  # z of the outermost slices
HEADERS = [
    "",
    "tried",
    "refused",
    "Dice: mean",
    "lowest",
    "after growing: mean",
    "lowest",
    "lesion inside",
    "after growing",
]


@dataclass
class Results:
    """Of one image class: Dice of the lung found and of the grown one, and lesion pixels inside."""

    refused: int = 0
    dice: list[float] = field(default_factory=list)
    grown_dice: list[float] = field(default_factory=list)
    lesion_px: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))  # all, inside both

    def add(self, hu, spacing, lung, lesion) -> None:
        try:
            found = find_lung(hu, spacing).mask
        except ValueError:
            self.refused += 1
            return
        grown = grown_lung(found, lesion)
        self.dice.append(dice(found, lung))
        self.grown_dice.append(dice(grown, lung))
        self.lesion_px += [lesion.sum(), (lesion & found).sum(), (lesion & grown).sum()]

    def row(self, name: str) -> list:
        tried = self.refused + len(self.dice)
        if not self.dice:
            return [name, tried, self.refused, *["-"] * 6]
        values = [self.dice, self.grown_dice]
        scores = [f"{statistic(dices):.3f}" for dices in values for statistic in (np.mean, min)]
        total, *inside = self.lesion_px
        shares = [f"{100 * part / total:.1f} %" if total else "-" for part in inside]
        return [name, tried, self.refused, *scores, *shares]


def dice(found: np.ndarray, true: np.ndarray) -> float:
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def draw_volume(seed: int, index: int, slices: int, size: int):
    """HU, the true lung and the true lesions of a patient, (Z, size, size), lowest slice first."""
    patient = draw_patient(seed, index, index % len(IMAGE_CLASSES))
    numbers = np.rint(np.linspace(LAST, FIRST, slices) * LAST_SLICE).astype(int).tolist()
    drawn = [draw_slice(patient, number, size) for number in numbers]
    lung = [draw_shapes(patient.body, n / LAST_SLICE, size).lung < 0 for n in numbers]
    return np.stack([hu for hu, _ in drawn]), np.stack(lung), np.stack([m > 1 for _, m in drawn])


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--patients", type=int, default=60, help="of the three classes by turns")
    parser.add_argument("--slices", type=int, default=20, help="of each patient")
    parser.add_argument("--size", type=int, default=512, help="of a slice, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if min(args.patients, args.slices) < 2 or args.size < 64:
        raise ValueError("expected at least 2 patients and 2 slices, of at least 64 pixels")
    height = (LAST - FIRST) / (args.slices - 1) * CHEST_HEIGHT * UNKNOWN_WIDTH / 2
    spacing = (height, UNKNOWN_WIDTH / args.size, UNKNOWN_WIDTH / args.size)
    scans, singles = ([Results() for _ in IMAGE_CLASSES] for _ in range(2))
    for index in tqdm(range(args.patients), "patients", disable=None):
        label = index % len(IMAGE_CLASSES)
        hu, lung, lesion = draw_volume(args.seed, index, args.slices, args.size)
        scans[label].add(hu, spacing, lung, lesion)
        for z in range(args.slices):
            part = np.s_[z : z + 1]
            grey = LUNG.to_hu(window(hu[part]))
            singles[label].add(grey, None, lung[part], lesion[part])
    rows = [
        results.row(f"{name}, {kind}")
        for kind, of_class in (("volumes", scans), ("single slices", singles))
        for name, results in zip(IMAGE_CLASSES, of_class, strict=True)
    ]
    print(tabulate(rows, HEADERS, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    run_script(main)
