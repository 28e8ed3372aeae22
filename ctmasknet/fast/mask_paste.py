"""Masks of RoIs pasted into the image by matrices.

Shapes: R masks of M x M, image of H x W pixels.
"""

import numpy as np
import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import BitMasks, Boxes, Instances, ROIMasks

from ..modeling import LesionRCNN

_GROUP = 16  # masks pasted by one product; alike in size, as each takes the place of the largest


def separable_mask_paste(model: LesionRCNN) -> None:
    """Let `LesionRCNN.postprocess` paste many masks at a time."""
    if model.postprocess is LesionRCNN.postprocess:
        model.postprocess = postprocess


class SeparableROIMasks(ROIMasks):
    """Masks of RoIs, pasted where Detectron2 pastes them, by matrices instead of one by one.

    Bilinear samples on a grid are separable: a pasted mask is Y M X', with the weights of the
    mask's rows in each image row, and of its columns. On a GPU, and with thresholds up to 0, it is
    Detectron2's own pasting.
    """

    def __getitem__(self, item) -> "SeparableROIMasks":
        return SeparableROIMasks(super().__getitem__(item).tensor)

    def to_bitmasks(
        self, boxes: Boxes, height: int, width: int, threshold: float = 0.5
    ) -> BitMasks:
        """Paste the masks at their boxes into (height, width); see `ROIMasks.to_bitmasks`."""
        if self.tensor.device.type != "cpu" or threshold <= 0 or not len(self):
            return super().to_bitmasks(boxes, height, width, threshold)
        # Memory that is zero until it is written: most of it never is.
        image = torch.from_numpy(np.zeros((len(self), height, width), bool))
        corners = boxes.tensor.to(self.tensor.dtype)
        first = (corners[:, :2].floor() - 1).clamp(min=0).int()
        last = corners.new_tensor([width, height]).minimum(corners[:, 2:].ceil() + 1)
        last = last.clamp(min=0).int()
        sides = (last - first).clamp(min=0)
        for group in sides.amax(dim=1).argsort().split(_GROUP):
            (columns, rows), (x, y) = sides[group].amax(dim=0).tolist(), first[group].unbind(1)
            by_row = self._weights(corners[group, 1], corners[group, 3], y, rows)
            by_column = self._weights(corners[group, 0], corners[group, 2], x, columns)
            pasted = by_row @ self.tensor[group] @ by_column.transpose(1, 2) >= threshold
            places = torch.cat([first[group], last[group]], dim=1).tolist()
            for mask, i, (x0, y0, x1, y1) in zip(pasted, group.tolist(), places, strict=True):
                image[i, y0:y1, x0:x1] = mask[: max(y1 - y0, 0), : max(x1 - x0, 0)]
        return BitMasks(image)

    def _weights(
        self, low: torch.Tensor, high: torch.Tensor, first: torch.Tensor, count: int
    ) -> torch.Tensor:
        """(R, count, M): what each cell of a mask gives to pixels first, first + 1, ...

        Args:
            low, high: (R,) ends of boxes along an axis, in pixels.
            first: (R,) pixels.
            count: how many.
        """
        cells = self.tensor.shape[1]
        centres = first[:, None] + torch.arange(count) + 0.5
        place = (centres - low[:, None]) / (high - low)[:, None] * cells - 0.5
        return (1 - (place[:, :, None] - torch.arange(cells)).abs()).clamp_(min=0)


def postprocess(found: Instances, height: int, width: int) -> Instances:
    """Detectron2's `detector_postprocess`, with the faster pasting.

    Args:
        found: raw instances of one image; their boxes may be changed in place.
        height, width: of the image that is wanted.

    Returns:
        Instances in its pixels, without those that have no area there.
    """
    if found.has("pred_masks") and isinstance(found.pred_masks, torch.Tensor):
        found = Instances(found.image_size, **found.get_fields())
        found.pred_masks = SeparableROIMasks(found.pred_masks[:, 0])
    return detector_postprocess(found, height, width)
