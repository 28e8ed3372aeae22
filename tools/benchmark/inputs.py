"""Images to measure with: random grey pixels or files, with round lesions to train on.

Shapes: H x W pixels, L lesions of an image.
"""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

import cv2
import torch
from detectron2.structures import BitMasks, Boxes, Instances

from ctmasknet.data.images import read_slice

LESIONS = 4  # of an image


def make_batch(
    batch: int, side: int, num_labels: int, num_lesion_classes: int, folder: str | None = None
) -> list[dict]:
    """Dataset dicts as the models read them, with a label and lesions; the same at every call.

    Args:
        batch: number of images.
        side: H and W.
        num_labels: image classes, which are dealt out in turn.
        num_lesion_classes: likewise.
        folder: of PNG slices, which are resized to the side and repeated as often as needed.

    Raises:
        FileNotFoundError: no PNG in the folder.
    """
    lesions = round_lesions(side, num_lesion_classes)
    images = _read(folder, batch, side) if folder else _random(batch, side)
    return [
        {
            "image": image,
            "height": side,
            "width": side,
            "label": i % num_labels,
            "instances": lesions,
            "file_name": f"image {i}",
        }
        for i, image in enumerate(images)
    ]


def round_lesions(side: int, num_classes: int) -> Instances:
    """Four discs, from a tenth of the side across to four tenths."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    centres = [(0.25, 0.25, 0.05), (0.25, 0.75, 0.1), (0.75, 0.25, 0.15), (0.7, 0.7, 0.2)]
    masks = torch.stack(
        [(y / side - v) ** 2 + (x / side - u) ** 2 <= radius**2 for v, u, radius in centres]
    )
    bitmasks = BitMasks(masks)
    boxes: Boxes = bitmasks.get_bounding_boxes()
    classes = torch.arange(LESIONS) % num_classes
    return Instances((side, side), gt_boxes=boxes, gt_classes=classes, gt_masks=bitmasks)


def _random(batch: int, side: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (batch, 1, side, side), generator=generator, dtype=torch.uint8)
    return [*pixels.repeat(1, 3, 1, 1)]  # grey, as CT is


def _read(folder: str, batch: int, side: int) -> list[torch.Tensor]:
    files = sorted(Path(folder).glob("*.png"))
    if not files:
        raise FileNotFoundError(f"{folder}: found no PNG file, expected 8-bit slices")
    images = (cv2.resize(read_slice(file), (side, side)) for file in islice(cycle(files), batch))
    return [torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images]
