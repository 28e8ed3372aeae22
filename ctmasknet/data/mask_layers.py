"""Masks of a slice moved together: a transform costs as much for thirty lesions as for one."""

from collections.abc import Sequence

import numpy as np
from detectron2.data import transforms as T
from pycocotools import mask as coco_mask

_MOST = 255  # lesions of a layer of uint8


def transform_masks(rles: Sequence[dict], transforms: T.Transform) -> list[np.ndarray]:
    """Transform masks by painting those that do not overlap into one picture of their numbers.

    Args:
        rles: R masks of H x W pixels, COCO's compressed run lengths.
        transforms: of segmentations, which take the nearest pixel as all of Detectron2's do; other
            interpolation would mix numbers.

    Returns:
        R masks of the new size, uint8 0 or 1: what each would become by itself.
    """
    layers: list[np.ndarray] = []
    places = []
    for mask in map(coco_mask.decode, rles):
        inside = mask.astype(bool)
        free = (i for i, x in enumerate(layers) if x.max() < _MOST and not x[inside].any())
        index = next(free, len(layers))
        if index == len(layers):
            layers.append(np.zeros_like(mask))
        number = layers[index].max() + 1
        layers[index][inside] = number
        places.append((index, number))
    moved = [transforms.apply_segmentation(layer) for layer in layers]
    return [(moved[index] == number).astype(np.uint8) for index, number in places]
