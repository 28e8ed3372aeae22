"""Instances -> one class number for each pixel.

Shapes: Z slices of H x W pixels, K lesion classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..inference.predictions import SlicePrediction


def label_map(prediction: SlicePrediction) -> np.ndarray:
    """Paint instances; where they overlap, the one with the highest score has the pixel.

    Args:
        prediction: of a model with masks.

    Returns:
        (H, W) uint8: 0 background, k the k-th of the K lesion classes, from 1.

    Raises:
        ValueError: the model has no masks.
    """
    if not prediction.has_masks:
        raise ValueError(
            f"{prediction.source or 'slice'}: found boxes without masks, expected the "
            "prediction of a model with a mask head"
        )
    labels = np.zeros(prediction.size, np.uint8)
    # The best is painted last; of equal scores the first.
    for instance in sorted(reversed(prediction.instances), key=lambda found: found.score):
        labels[instance.mask] = prediction.lesion_classes.index(instance.lesion_class) + 1
    return labels


def label_volume(slices: Sequence[SlicePrediction]) -> np.ndarray:
    """Paint the instances of a scan; see `label_map`.

    Args:
        slices: Z predictions of one size, by one model.

    Returns:
        (Z, H, W) uint8.

    Raises:
        ValueError: no slices, different sizes or classes, or the model has no masks.
    """
    kinds = {(prediction.size, prediction.lesion_classes) for prediction in slices}
    if len(kinds) != 1:
        raise ValueError(
            f"found {len(kinds)} different sizes or classes among {len(slices)} slices, expected "
            "the slices of one scan"
        )
    volume = np.empty((len(slices), *slices[0].size), np.uint8)
    for index, prediction in enumerate(slices):
        volume[index] = label_map(prediction)
    return volume
