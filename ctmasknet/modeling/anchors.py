"""Anchors of the author's code."""

import torch
from detectron2.modeling import ANCHOR_GENERATOR_REGISTRY
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator


@ANCHOR_GENERATOR_REGISTRY.register()
class RoundedAnchorGenerator(DefaultAnchorGenerator):
    """Anchors rounded to whole pixels about the cell's corner, ratio by ratio.

    The author's code builds them so, and its RPN's channels have this order. Of the 30 anchors of
    the papers two have no area and four are copies. With MODEL.ANCHOR_GENERATOR.OFFSET 0, as in
    configs/reference, converted weights give the author's answers.
    """

    def generate_cell_anchors(
        self,
        sizes: tuple[float, ...] = (32, 64, 128, 256, 512),
        aspect_ratios: tuple[float, ...] = (0.5, 1, 2),
    ) -> torch.Tensor:
        """Return the anchors of one location.

        Args:
            sizes: square roots of the areas, in pixels.
            aspect_ratios: height / width.

        Returns:
            (ratios * sizes, 4) float32, x0 y0 x1 y1; index = ratio * len(sizes) + size. Half
            widths and heights are rounded, halves to the even number.
        """
        # float32 as in the author's code: the rounding of halves depends on it.
        height = torch.tensor(aspect_ratios, dtype=torch.float32).sqrt()
        lengths = torch.tensor(sizes, dtype=torch.float32)
        half_heights = (height[:, None] * lengths / 2).flatten()
        half_widths = ((1 / height)[:, None] * lengths / 2).flatten()
        corner = torch.stack([half_widths, half_heights], dim=1).round()
        return torch.cat([-corner, corner], dim=1)
