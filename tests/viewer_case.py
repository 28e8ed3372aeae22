"""A scan of twelve slices with its volume, for the viewer of reports."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
from report_cases import SIDE, a_scan, a_slice, an_instance

from ctmasknet.volumes.volume import Volume

Z = 12
HU = (-900, -600, 40, 400, -150)  # of five bands of rows on each slice; the last one is HU + slice


def a_volume(z=Z, **changes):
    hu = np.repeat(np.array(HU, np.int16), 16)[:SIDE, None].repeat(SIDE, 1)[None].repeat(z, 0)
    return Volume(
        hu=hu + 10 * np.arange(z, dtype=np.int16)[:, None, None],
        spacing=(2.0, 0.5, 0.5),
        origin=(0.0, 0.0, 0.0),
        direction=np.eye(3),
        patient="p7",
        scan="1.2",
        source=Path("a/scan"),
        **changes,
    )


def a_ring():
    """A lesion with a hole, at the picture's left edge."""
    one = an_instance("C", 0.61, 0, 40, 9, 50)
    mask = one.mask.astype(np.uint8)
    mask[43:47, 3:6] = 0
    rle = mask_util.encode(np.asfortranarray(mask))
    return replace(one, rle={**rle, "counts": rle["counts"].decode()}, area_px=int(mask.sum()))


def a_case(**changes):
    """Lesions on slices 3 (two) and 7; slice 0 was not searched."""
    found = [an_instance("GGO", 0.93, 4, 8, 12, 24), a_ring()]
    slices = [a_slice() for _ in range(Z)]
    slices[0] = a_slice(searched=False)
    slices[3], slices[7] = a_slice(found), a_slice([an_instance("GGO", 0.5, 30, 30, 36, 40)])
    return replace(a_scan(slices), volume=a_volume(**changes))
