"""Boxes from regression output, in the precision of the network.

Detectron2 decodes boxes in float32 and its `Boxes` hold float32, also in a float64 network. That
moves a corner in a slice of 512 pixels by up to 1.5e-5 pixels: invisible in use, but not when an
implementation is checked against another one to 1e-6.
"""

import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes


class PreciseBox2BoxTransform(Box2BoxTransform):
    """Detectron2's transform that decodes in the deltas' precision, and at least in float32."""

    def apply_deltas(self, deltas: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Decode boxes.

        Args:
            deltas: (R, K * 4) float; dx, dy, dw, dh times the transform's weights.
            boxes: (R, 4) float, x0 y0 x1 y1 in pixels: where the deltas start from.

        Returns:
            (R, K * 4), float32 or float64.
        """
        dtype = torch.promote_types(deltas.dtype, torch.float32)
        weights = torch.tensor(self.weights, dtype=dtype, device=deltas.device)
        dx, dy, dw, dh = (by_class(deltas.to(dtype)) / weights).unbind(dim=2)
        boxes = boxes.to(dtype)
        width, height = (boxes[:, 2:] - boxes[:, :2])[:, :, None].unbind(dim=1)
        x, y = boxes[:, 0, None] + width / 2, boxes[:, 1, None] + height / 2
        x, y = x + dx * width, y + dy * height
        half_width = dw.clamp(max=self.scale_clamp).exp() * width / 2
        half_height = dh.clamp(max=self.scale_clamp).exp() * height / 2
        corners = (x - half_width, y - half_height, x + half_width, y + half_height)
        return torch.stack(corners, dim=2).flatten(1)


class PreciseBoxes(Boxes):
    """Detectron2's boxes that are not rounded to float32."""

    def __init__(self, tensor: torch.Tensor):
        """Wrap (R, 4) float boxes, x0 y0 x1 y1 in pixels."""
        super().__init__(tensor)
        self.tensor = tensor

    def clone(self) -> "PreciseBoxes":
        return PreciseBoxes(self.tensor.clone())

    def to(self, device: torch.device) -> "PreciseBoxes":
        return PreciseBoxes(self.tensor.to(device=device))

    def __getitem__(self, item) -> "PreciseBoxes":
        rows = self.tensor[item]
        return PreciseBoxes(rows[None] if rows.dim() == 1 else rows)


def by_class(values: torch.Tensor) -> torch.Tensor:
    """(R, K * 4) to (R, K, 4), also without any RoI."""
    return values.view(len(values), values.shape[1] // 4, 4)
