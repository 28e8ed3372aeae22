"""The five lobes of the lung: their label maps, and the CT score of Pan et al.

Pan F, Ye T, Sun P, et al. Time Course of Lung Changes at Chest CT during Recovery from Coronavirus
Disease 2019 (COVID-19). Radiology 2020; 295:715-721.
"""

import math
from bisect import bisect_right

import numpy as np

# In the order of their values in the label maps of lungmask (LTRCLobes: 1 to 5) and of
# TotalSegmentator (10 to 14).
LOBES = ("left upper", "left lower", "right upper", "right middle", "right lower")
LARGEST_SCORE = 5 * len(LOBES)

# Pan et al. leave 25 to 26 and 49 to 50 % open: here 25 % is the end of 2, 50 % the start of 4.
_LIMITS = (0.05, math.nextafter(0.25, 1), 0.50, math.nextafter(0.75, 1))


def find_lobes(values: np.ndarray) -> np.ndarray | None:
    """Tell the lobes of a label map from its five values above 0, which are in the order of LOBES.

    Args:
        values: (Z, H, W) whole numbers from 0 to 255, upright, lowest slice first.

    Returns:
        (Z, H, W) uint8, 0 or 1 + the lobe's index in LOBES; None if there are more or fewer values.

    Raises:
        ValueError: the five do not lie in the body as the lobes do.
    """
    counts = np.zeros(256, np.int64)
    for part in values:  # by slices: bincount would hold 8 bytes for each voxel
        counts += np.bincount(part.astype(np.uint8).ravel(), minlength=256)
    found = np.flatnonzero(counts[1:]) + 1
    if len(found) != len(LOBES):
        return None
    table = np.zeros(256, np.uint8)
    table[found] = np.arange(len(LOBES)) + 1
    lobes = table[values.astype(np.uint8)]
    z, x = zip(*(_centre(lobes == index + 1) for index in range(len(LOBES))), strict=True)
    upper_first = z[0] > z[1] and z[2] > z[3] and z[2] > z[4]
    if not (upper_first and min(x[:2]) > max(x[2:])):
        raise ValueError(
            f"found the values {', '.join(map(str, found))}, which do not lie as the lobes "
            f"{', '.join(LOBES)}; expected the lobes in this order (as lungmask and "
            "TotalSegmentator have them), or a lung mask with one value"
        )
    return lobes


def _centre(mask: np.ndarray) -> tuple[float, float]:
    """Return the mean slice and column of (Z, H, W) bool."""
    z, x = mask.sum(axis=(1, 2)), mask.sum(axis=(0, 1))
    return float(np.average(np.arange(len(z)), weights=z)), float(
        np.average(np.arange(len(x)), weights=x)
    )


def count_by_lobe(labels: np.ndarray, lobes: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels of each lesion class in each lobe.

    Args:
        labels: (Z, H, W) uint8, 0 or 1 + the class.
        lobes: (Z, H, W) uint8 as of `find_lobes`.
        classes: K.

    Returns:
        (5, 1 + K) int64; the first column is what is no lesion.
    """
    sides = len(LOBES) + 1, classes + 1
    counts = np.zeros(math.prod(sides), np.int64)
    for part, lobe in zip(labels, lobes, strict=True):  # by slices, to spare memory
        both = lobe.astype(np.intp) * sides[1] + part
        counts += np.bincount(both.ravel(), minlength=len(counts))
    return counts.reshape(sides)[1:]


def lobe_score(share: float) -> int:
    """Score a lobe by the share of it that is lesion (Pan et al. 2020, CT scores).

    Args:
        share: 0..1.

    Returns:
        0: none; 1: < 5 %; 2: 5 to 25 %; 3: 26 to 49 %; 4: 50 to 75 %; 5: > 75 %. The sum over the
        lobes, 0 to 25, is the CT score of the lungs.

    Raises:
        ValueError: another share, or NaN.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"found a share of a lobe of {share}, expected 0 to 1")
    return 1 + bisect_right(_LIMITS, share) if share else 0
