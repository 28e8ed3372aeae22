"""Masks of COCO files, checked before pycocotools sees them: bad ones make it crash or hang.

Shapes: an image of h x w pixels, R runs of pixels, N points of a polygon.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pycocotools.mask as mask_util

# pycocotools shifts 32-bit integers: six characters of 5 bits are what it reads without overflow.
_MAX_CHARACTERS = 6
MAX_PIXELS = 2**29 - 1


def compressed_rle(mask: Any, size: tuple[int, int]) -> dict:
    """Turn a mask in any of COCO's forms into a compressed RLE that JSON can hold.

    Args:
        mask: polygons (lists of N x, y pairs, in pixels), or {"size": [h, w], "counts": runs by
            column as COCO's string or as a list}.
        size: (h, w) of the image, at most MAX_PIXELS pixels.

    Returns:
        {"size": [h, w], "counts": str}, without empty runs but the first.

    Raises:
        KeyError, TypeError, ValueError: it is not a mask of that size.
    """
    if isinstance(mask, list):
        rle = mask_util.merge(mask_util.frPyObjects(_polygons(mask, size), *size))
    elif mask["size"] != list(size):
        raise ValueError(
            f"a mask of size {mask['size']} (height, width), expected {list(size)} as its image"
        )
    else:
        runs = _runs(mask["counts"])
        if runs is None or runs.min() < 0 or runs.sum() != size[0] * size[1]:
            raise ValueError(f"not a usable RLE of {size[0]} x {size[1]} pixels (height x width)")
        rle = {"size": list(size), "counts": mask["counts"]}
        if isinstance(mask["counts"], list):
            rle = mask_util.frPyObjects(rle, *size)
        if not runs[1:].all():  # pycocotools may stop at an empty run, and lose what follows
            rle = mask_util.encode(mask_util.decode(rle))
    counts = rle["counts"]
    return {"size": list(size), "counts": counts.decode() if isinstance(counts, bytes) else counts}


def _polygons(mask: list, size: tuple[int, int]) -> list[list[float]]:
    """Leave out what is no polygon, as Detectron2 does."""
    polygons = [points for points in mask if len(points) >= 6 and len(points) % 2 == 0]
    if not polygons:
        raise ValueError("no valid polygon")
    for points in polygons:
        for side, values in ((size[1], points[::2]), (size[0], points[1::2])):
            # pycocotools needs memory for each pixel on the way to a far point.
            bad = [x for x in values if type(x) not in (int, float) or not -side <= x <= 2 * side]
            if bad:
                raise ValueError(
                    f"a polygon with {bad[0]!r}, expected numbers within {-side} to {2 * side}, "
                    "one image size around the image"
                )
    return polygons


def _runs(counts: Any) -> np.ndarray | None:
    """(R,) int64 run lengths, which may be negative; None where they cannot be read."""
    if isinstance(counts, list):
        usable = counts and all(type(x) is int and 0 <= x <= MAX_PIXELS for x in counts)
        return np.array(counts, dtype=np.int64) if usable else None
    if not isinstance(counts, str) or not counts or not counts.isascii():
        return None
    # As pycocotools' rleFrString: 5 bits a character, the low ones first; 0x20 says that more
    # follow, 0x10 in the last one that the number is negative.
    codes = np.frombuffer(counts.encode(), dtype=np.uint8).astype(np.int64) - ord("0")
    ends = np.flatnonzero(codes < 0x20)
    if codes.min() < 0 or codes.max() > 0x3F or codes[-1] >= 0x20:
        return None
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > _MAX_CHARACTERS:
        return None
    starts = ends - lengths + 1
    places = np.arange(len(codes)) - starts.repeat(lengths)
    runs = np.add.reduceat((codes & 0x1F) << 5 * places, starts)
    runs -= (codes[ends] >> 4 & 1) << 5 * lengths
    # From the fourth on each is a difference to the one two before.
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    return runs
