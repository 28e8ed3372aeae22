"""Class scores and boxes of RoIs.

Shapes: B images, R RoIs of one image, K lesion classes.
"""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.structures import Instances

from ..config import require_one_of
from .box_selection import Selection, nms, select_boxes
from .box_transform import PreciseBox2BoxTransform, PreciseBoxes, by_class
from .finite import check_finite
from .precision import full_precision

SCORES = ("softmax", "sigmoid")
Predictions = tuple[torch.Tensor, torch.Tensor]


class LesionBoxPredictor(FastRCNNOutputLayers):
    """Detectron2's predictor, whose choice of boxes also serves the ranked tensor.

    Layers and losses are the stock ones. At inference boxes without area are dropped before NMS,
    as in the author's code, and values that are not finite raise instead of being dropped. `nms`
    is a seam for `ctmasknet.fast`.
    """

    nms = staticmethod(nms)

    @configurable
    def __init__(self, input_shape: ShapeSpec, *, score: str = "softmax", **kwargs):
        """Build the layers.

        Args:
            input_shape: of the box head's output.
            score: "softmax" over the lesion classes and background, as in training, or "sigmoid"
                of each class's own logit (one of the papers' experiments).
            kwargs: those of FastRCNNOutputLayers.

        Raises:
            ValueError: unknown score.
        """
        require_one_of("MODEL.ROI_BOX_HEAD.SCORE", score, SCORES)
        super().__init__(input_shape, **kwargs)
        self.score = score

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict:
        ret = super().from_config(cfg, input_shape)
        weights = cfg.MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS
        ret["box2box_transform"] = PreciseBox2BoxTransform(weights=weights)
        ret["score"] = cfg.MODEL.ROI_BOX_HEAD.SCORE
        return ret

    def forward(self, x: torch.Tensor) -> Predictions:
        """Scores and deltas (R, K + 1) and (R, K * 4), always in the precision of the weights."""
        with full_precision(x.device):
            return super().forward(x.to(self.cls_score.weight.dtype))

    def predict_probs(
        self, predictions: Predictions, proposals: list[Instances]
    ) -> tuple[torch.Tensor, ...]:
        """Return B tensors (R, K + 1) of scores in [0, 1], the background's last."""
        if self.score == "softmax":
            return super().predict_probs(predictions, proposals)
        return predictions[0].sigmoid().split([len(p) for p in proposals])

    def inference(
        self, predictions: Predictions, proposals: list[Instances]
    ) -> tuple[list[Instances], list[torch.Tensor]]:
        """Return each image's detections, and the RoIs they come from.

        Args:
            predictions: what `forward` returned for all RoIs of the batch.
            proposals: B Instances with `proposal_boxes`.

        Returns:
            B Instances with pred_boxes, scores and pred_classes, and B tensors of RoI indices.

        Raises:
            NotFiniteError: NaN or infinity among an image's predictions.
        """
        picks = self.select(
            predictions,
            proposals,
            self.test_nms_thresh,
            # Detectron2: a negative number keeps all.
            self.test_topk_per_image if self.test_topk_per_image >= 0 else None,
            self.test_score_thresh,
        )
        instances = [
            Instances(
                p.image_size,
                pred_boxes=PreciseBoxes(pick.box),
                scores=pick.score,
                pred_classes=pick.lesion_class,
            )
            for p, pick in zip(proposals, picks, strict=True)
        ]
        return instances, [pick.roi for pick in picks]

    def select(
        self,
        predictions: Predictions,
        proposals: list[Instances],
        nms_thresh: float,
        num: int | None,
        score_thresh: float = -1.0,
    ) -> list[Selection]:
        """Choose and rank the boxes of each image.

        Args:
            predictions: what `forward` returned for all RoIs of the batch.
            proposals: B Instances with `proposal_boxes`.
            nms_thresh, num, score_thresh: see `select_boxes`.

        Returns:
            B selections.

        Raises:
            NotFiniteError: NaN or infinity among an image's predictions.
        """
        sizes = [len(p) for p in proposals]
        check_finite(*(x.split(sizes) for x in predictions))
        probs = self.predict_probs(predictions, proposals)
        boxes = self.predict_boxes(predictions, proposals)
        return [
            select_boxes(
                probs_i[:, : self.num_classes],
                # A class-agnostic regressor has one box for all classes.
                by_class(boxes_i).expand(-1, self.num_classes, -1),
                p.image_size,
                nms_thresh,
                num,
                score_thresh,
                self.nms,
            )
            for probs_i, boxes_i, p in zip(probs, boxes, proposals, strict=True)
        ]
