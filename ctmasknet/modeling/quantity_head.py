"""Logistic regression on what can be measured of the detected boxes.

Shapes: B images, N ranked boxes, K lesion classes, C image classes, Q quantities.
"""

import math

import torch
from detectron2.config import CfgNode, configurable
from torch import nn

from .image_head import IMAGE_HEAD_REGISTRY, ImageHead
from .ranked_boxes import RankedBoxes, RankedBoxesShape

_CELLS = 64  # along each side, for the area that boxes cover together


@IMAGE_HEAD_REGISTRY.register()
class LesionQuantityHead(ImageHead):
    """A baseline that a reader could compute by hand: count, area, share and position of lesions.

    With MODEL.RANKED_BOXES.NMS_THRESH as MODEL.ROI_HEADS.NMS_THRESH_TEST the boxes are the
    detections of the lesion model that score at least `min_score`. The detector gets no gradient.
    """

    min_score: torch.Tensor

    @configurable
    def __init__(self, *, num_boxes: int, num_lesion_classes: int, min_score: float, **kwargs):
        """Build the classifier.

        Args:
            num_boxes: N.
            num_lesion_classes: K.
            min_score: of boxes that are lesions, in [0, 1]; kept with the weights.
            kwargs: those of ImageHead.
        """
        super().__init__(**kwargs)
        self.num_boxes, self.num_lesion_classes = num_boxes, num_lesion_classes
        self.register_buffer("min_score", torch.tensor(min_score))
        self.classifier = nn.Linear(3 * num_lesion_classes + 5, self.num_classes)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: RankedBoxesShape) -> dict:
        if cfg.MODEL.TRAINABLE != "heads":
            raise ValueError(
                f"MODEL.TRAINABLE is {cfg.MODEL.TRAINABLE!r}, but LesionQuantityHead gives the "
                "detector no gradient: set it to 'heads'"
            )
        if input_shape.features or input_shape.global_features:
            raise ValueError(
                "LesionQuantityHead reads no features: set MODEL.RANKED_BOXES.FEATURES to '' and "
                "MODEL.IMAGE_HEAD.GLOBAL_FEATURES to False"
            )
        return {
            **super().from_config(cfg, input_shape),
            "num_boxes": input_shape.num_boxes,
            "num_lesion_classes": cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            "min_score": cfg.TEST.PIXEL_SCORE_THRESH,
        }

    def forward(self, ranked: RankedBoxes) -> torch.Tensor:
        """Map the ranked boxes of B images to image logits (B, C)."""
        return self.classifier(self.quantities(ranked))

    @torch.no_grad()
    def quantities(self, ranked: RankedBoxes) -> torch.Tensor:
        """Measure the boxes that count as lesions.

        Returns:
            (B, Q) in [0, 1], but for areas of boxes that overlap: of each class the count (its
            logarithm), the sum of the boxes' areas and the largest, over the image's; then the
            share of the image that boxes cover, and the mean and standard deviation of their
            centres' x and y over width and height, weighted by area.
        """
        lesion = (ranked.valid & (ranked.scores >= self.min_score)).to(ranked.rows.dtype)
        boxes = (ranked.boxes / ranked.image_sizes.flip(1).repeat(1, 2)[:, None]).to(lesion.dtype)
        sides = boxes[:, :, 2:] - boxes[:, :, :2]
        areas = sides.prod(dim=2) * lesion
        found = []
        for lesion_class in range(self.num_lesion_classes):
            own = (ranked.classes == lesion_class).to(lesion.dtype)
            count = (lesion * own).sum(dim=1).log1p() / math.log1p(self.num_boxes)
            found += [count, (areas * own).sum(dim=1), (areas * own).amax(dim=1)]
        weights = areas / areas.sum(dim=1, keepdim=True).clamp(min=1e-9)
        centres = (boxes[:, :, :2] + boxes[:, :, 2:]) / 2
        mean = (weights[:, :, None] * centres).sum(dim=1)
        variance = (weights[:, :, None] * (centres - mean[:, None]).square()).sum(dim=1)
        of_places = [_covered(boxes, lesion)[:, None], mean, variance.sqrt()]
        return torch.cat([torch.stack(found, dim=1), *of_places], dim=1)


def _covered(boxes: torch.Tensor, lesion: torch.Tensor) -> torch.Tensor:
    """Return the share (B,) of cells whose centre lies in a box of (B, N, 4) that counts."""
    centres = (torch.arange(_CELLS, device=boxes.device) + 0.5) / _CELLS
    x0, y0, x1, y1 = (edge[:, :, None] for edge in boxes.unbind(dim=2))
    columns = ((x0 <= centres) & (centres < x1)).to(boxes.dtype)
    rows = ((y0 <= centres) & (centres < y1)).to(boxes.dtype) * lesion[:, :, None]
    return (rows.transpose(1, 2) @ columns > 0).to(boxes.dtype).mean(dim=(1, 2))
