"""Outlines on the domes of the diaphragm and of the heart, which a slice just touches.

Shapes: Z slices of H x W pixels, from the feet to the head.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..inference.predictions import Instance, SlicePrediction
from ..lung import LungMask
from ..wording import counted
from .label_map import label_volume

_STANDS = 0.8  # of an outline: with more on what is no lung it stands on it
_GOES_ON = 0.2  # of an outline: with more under a lesion of the slice above it goes on there


def without_domes(
    slices: Sequence[SlicePrediction], lung: LungMask
) -> tuple[tuple[SlicePrediction, ...], list[str]]:
    """Leave out outlines that stand on what is no lung and go no higher.

    A slice that is half dome and half lung is as dense as ground glass. In the slice below there is
    neither lung nor lesion in its place, and in the one above there is air again.

    Args:
        slices: Z predictions of one size with masks, Z > 0.
        lung: of the same slices, as it was found or given.

    Returns:
        The predictions without these outlines, and a note that counts them, if there are any.
    """
    lesion = label_volume(slices) > 0
    carries = lung.mask | lesion
    beyond = np.zeros_like(lesion[:1])
    kept = [slices[0]]
    for found, below, above in zip(slices[1:], carries, [*lesion[2:], *beyond], strict=False):
        stays = tuple(x for x in found.instances if not _is_dome(x, below, above))
        kept.append(replace(found, instances=stays))
    dropped = sum(len(x.instances) for x in slices) - sum(len(x.instances) for x in kept)
    if not dropped:
        return tuple(slices), []
    what = f"{counted(dropped, 'outline')} on one slice that stood on what is no lung"
    return tuple(kept), [f"Domes of the diaphragm or heart: {what}; left out."]


def _is_dome(instance: Instance, carries: np.ndarray, above: np.ndarray) -> bool:
    mask = instance.mask
    assert mask is not None
    if not mask.any():
        return False
    return carries[mask].mean() <= 1 - _STANDS and above[mask].mean() <= _GOES_ON
