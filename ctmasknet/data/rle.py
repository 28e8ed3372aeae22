"""Masks of COCO files, checked before pycocotools sees them: bad ones make it crash or hang.

Shapes: an image of h x w pixels, R runs of pixels, N points of a polygon, S strings.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

# pycocotools shifts 32-bit integers: six characters of 5 bits are what it reads without overflow.
_MAX_CHARACTERS = 6
MAX_PIXELS = 2**29 - 1
_AT_ONCE = 2**16  # characters of strings that are checked at once, small enough for caches


def compressed_rle(mask: Any, size: tuple[int, int]) -> dict:
    """Turn a mask in any of COCO's forms into {"size": [h, w], "counts": str}, which JSON can hold.

    The mask is polygons (lists of N x, y pairs, in pixels), or an RLE whose runs by column are
    COCO's string or a list; the image is (h, w), at most MAX_PIXELS pixels. The answer has no empty
    runs but the first. Raises a KeyError, TypeError or ValueError for what is no mask of that size.
    """
    (made,) = compressed_rles([mask], [size])
    if isinstance(made, Exception):
        raise made
    return made


def compressed_rles(
    masks: Sequence[Any], sizes: Sequence[tuple[int, int]]
) -> list[dict | Exception]:
    """Do as `compressed_rle` for many masks, a hundred times as fast for strings.

    Returns the RLE of each, or the error that tells why there is none.
    """
    made: list[Any] = []
    strings = []  # indices
    for mask, size in zip(masks, sizes, strict=True):
        try:
            rle, is_string = _converted(mask, size)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            made.append(error)
            continue
        if is_string:
            strings.append(len(made))
        made.append(rle)
    total = np.cumsum([len(made[i]["counts"]) for i in strings])
    for part in np.split(strings, np.flatnonzero(np.diff(total // _AT_ONCE)) + 1):
        if not len(part):
            continue
        usable, gaps = _check_strings(
            [made[i]["counts"] for i in part], np.array([sizes[i][0] * sizes[i][1] for i in part])
        )
        for i, good, gap in zip(part, usable, gaps, strict=True):
            if not good:
                made[i] = _unusable(sizes[i])
            elif gap:
                made[i] = _without_empty_runs(made[i])
    return made


def _converted(mask: Any, size: tuple[int, int]) -> tuple[dict, bool]:
    """Return the RLE of a mask, and whether it is a string that is to be checked."""
    if isinstance(mask, list):
        return _as_text(mask_util.merge(mask_util.frPyObjects(_polygons(mask, size), *size))), False
    if mask["size"] != list(size):
        raise ValueError(
            f"a mask of size {mask['size']} (height, width), expected {list(size)} as its image"
        )
    counts = mask["counts"]
    if isinstance(counts, str) and counts and counts.isascii():
        return {"size": list(size), "counts": counts}, True
    if (
        not isinstance(counts, list)
        or not all(type(x) is int and 0 <= x <= MAX_PIXELS for x in counts)
        or sum(counts) != size[0] * size[1]
    ):
        raise _unusable(size)
    rle = _as_text(mask_util.frPyObjects({"size": list(size), "counts": counts}, *size))
    return (rle if all(counts[1:]) else _without_empty_runs(rle)), False


def _unusable(size: tuple[int, int]) -> ValueError:
    return ValueError(
        f"not a usable RLE of {size[0]} x {size[1]} pixels (height x width): its runs are damaged "
        "or do not fill the image"
    )


def _without_empty_runs(rle: dict) -> dict:
    # pycocotools may stop at an empty run, and lose what follows.
    return _as_text(mask_util.encode(mask_util.decode(rle)))


def _as_text(rle: dict) -> dict:
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def _polygons(mask: list, size: tuple[int, int]) -> list[list[float]]:
    """Return the polygons; one or two points, which have no area, are left out."""
    if not all(isinstance(points, list) for points in mask):
        raise ValueError("no list of polygons, expected [[x, y, x, y, ...], ...]")
    if odd := [points for points in mask if len(points) % 2]:
        raise ValueError(f"no valid polygon: {len(odd[0])} numbers, expected pairs of x and y")
    polygons = [points for points in mask if len(points) >= 6]
    if not polygons:
        raise ValueError("no valid polygon, expected three points or more")
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


def _check_strings(strings: Sequence[str], pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell of S strings, (S,) bool each, which are RLEs of (S,) pixels, and which have empty runs.

    As pycocotools' rleFrString: 5 bits a character, the low ones first; 0x20 says that more follow,
    0x10 in the last one that the number is negative. From the fourth run on each is a difference to
    the one two before.
    """
    lengths = np.array([len(x) for x in strings])
    starts = lengths.cumsum() - lengths
    codes = np.frombuffer("".join(strings).encode(), np.uint8).astype(np.int64) - ord("0")
    last = codes < 0x20
    usable = last[starts + lengths - 1]
    usable &= ~np.logical_or.reduceat((codes < 0) | (codes > 0x3F), starts)
    last[starts + lengths - 1] = True  # no run goes on in the next string
    ends = np.flatnonzero(last)
    first = last.cumsum()[starts] - last[starts]  # index of each string's first run
    characters = np.diff(ends, prepend=-1)
    usable &= np.maximum.reduceat(characters, first) <= _MAX_CHARACTERS
    places = np.arange(len(codes)) - (ends - characters + 1).repeat(characters)
    runs = np.add.reduceat(
        (codes & 0x1F) << 5 * places.clip(max=_MAX_CHARACTERS), ends - characters + 1
    )
    runs -= (codes[ends] >> 4 & 1) << 5 * characters.clip(max=_MAX_CHARACTERS)
    number = np.diff(first, append=len(runs))
    index = np.arange(len(runs)) - first.repeat(number)
    for parity in (1, 0):
        chain = (index % 2 == parity) & (index > 0)
        total = np.where(chain, runs, 0).cumsum()
        before = np.where(first > 0, total[first - 1], 0)
        runs = np.where(chain, total - before.repeat(number), runs)
    usable &= np.minimum.reduceat(runs, first) >= 0
    usable &= np.add.reduceat(runs, first) == pixels
    return usable, np.logical_or.reduceat((runs == 0) & (index > 0), first)
