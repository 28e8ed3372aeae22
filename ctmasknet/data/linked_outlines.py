"""Outlines on the slices of a scan -> lesions in three dimensions.

Two outlines of one class belong to one lesion if

- they lie on neighbouring slices, each shares more pixels with the other than with any other
  outline there, and they share a tenth or more of the smaller one: the lesion goes on; or if
- they lie on neighbouring slices or on the same one, and a half or more of one lies on the other:
  a lesion parts or two flow together, or it was outlined twice.

All that is joined so is one lesion. Outlines that touch on a slice share no pixel: lesions side by
side stay apart, unless an outline of a neighbouring slice lies on both. A slice without an outline
between two others ends the lesion.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

_GOES_ON = 0.1  # of the smaller outline; less is a sliver of a lesion beside it
_LIES_ON = 0.5  # of the smaller outline

Rle = Mapping[str, Any]  # COCO's compressed RLE: "size", "counts"


def link_outlines(
    masks: Sequence[Sequence[Rle]],
    classes: Sequence[Sequence[Hashable]],
    numbers: Sequence[int] | None = None,
) -> list[np.ndarray]:
    """Tell which outlines of a scan are one lesion.

    Args:
        masks: the outlines of each of Z slices, as RLE of one size.
        classes: the class of each.
        numbers: of the slices, rising; neighbours differ by 1. None: all are neighbours.

    Returns:
        For each slice the lesion of each of its outlines, int64, numbered from 0 on in the order of
        their first outlines. Where shares are equal the first outline counts.
    """
    starts = np.cumsum([0, *map(len, masks)])
    known: dict[Hashable, int] = {}
    labels = [np.array([known.setdefault(x, len(known)) for x in part], int) for part in classes]
    pairs = [np.zeros((0, 2), np.int64)]
    for z, here in enumerate(zip(masks, labels, strict=True)):
        pairs.append(np.argwhere(_one_lesion(*here, *here, False)) + starts[z])
        if z and (numbers is None or numbers[z] - numbers[z - 1] == 1):
            joined = _one_lesion(masks[z - 1], labels[z - 1], *here, True)
            pairs.append(np.argwhere(joined) + starts[z - 1 : z + 1])
    one, other = np.concatenate(pairs).T
    graph = coo_matrix((np.ones(len(one), bool), (one, other)), shape=(starts[-1], starts[-1]))
    lesions = connected_components(graph, directed=False)[1]
    _, first, lesions = np.unique(lesions, return_index=True, return_inverse=True)
    lesions = np.argsort(np.argsort(first))[lesions]
    return [lesions[start:stop] for start, stop in zip(starts, starts[1:], strict=False)]


def shared_pixels(masks: Sequence[Rle], others: Sequence[Rle]) -> np.ndarray:
    """Count the pixels that each of N masks shares with each of M others: (N, M) int64."""
    if not masks or not others:
        return np.zeros((len(masks), len(others)), np.int64)
    # Of crowds COCO's IoU is the share of the first mask. It compares only masks whose boxes meet.
    shares = mask_util.iou(list(masks), list(others), [1] * len(others))
    return np.rint(shares * mask_util.area(list(masks))[:, np.newaxis]).astype(np.int64)


def _one_lesion(
    masks: Sequence[Rle],
    labels: np.ndarray,
    others: Sequence[Rle],
    other_labels: np.ndarray,
    neighbours: bool,
) -> np.ndarray:
    """Return (N, M) bool: which outlines of two slices, or of one, are of one lesion."""
    shared = shared_pixels(masks, others) * (labels[:, np.newaxis] == other_labels)
    if not shared.any():
        return shared > 0
    smaller = np.minimum(
        mask_util.area(list(masks)).astype(np.int64)[:, np.newaxis],
        mask_util.area(list(others)).astype(np.int64),
    )
    joined = shared >= _LIES_ON * smaller
    if neighbours:
        rows, columns = np.indices(shared.shape, sparse=True)
        most = (shared.argmax(axis=1)[:, np.newaxis] == columns) & (shared.argmax(axis=0) == rows)
        joined |= most & (shared >= _GOES_ON * smaller)
    return joined & (shared > 0)
