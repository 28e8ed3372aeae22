"""ROI heads that can also rank every scored box of an image.

Shapes: B images, R RoIs of one image, K lesion classes, N ranked boxes.
"""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import ROI_HEADS_REGISTRY, StandardROIHeads
from detectron2.structures import Instances

from .ranked_boxes import RankedBoxes, rank_rows, select_boxes

Predictions = tuple[torch.Tensor, torch.Tensor]


@ROI_HEADS_REGISTRY.register()
class RankedROIHeads(StandardROIHeads):
    """Stock heads (`forward` is unchanged) with a no-loss mode that keeps all scores (`rank`)."""

    @configurable
    def __init__(self, *, num_ranked: int, ranked_nms_thresh: float, **kwargs):
        """Build the stock heads.

        Args:
            num_ranked: N, rows of the ranked tensor.
            ranked_nms_thresh: IoU of the NMS within each class before ranking.
            kwargs: those of StandardROIHeads.
        """
        super().__init__(**kwargs)
        self.num_ranked = num_ranked
        self.ranked_nms_thresh = ranked_nms_thresh

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict) -> dict:
        ret = super().from_config(cfg, input_shape)
        ret["num_ranked"] = cfg.MODEL.RANKED_BOXES.NUM
        ret["ranked_nms_thresh"] = cfg.MODEL.RANKED_BOXES.NMS_THRESH
        return ret

    def rank(
        self, features: dict[str, torch.Tensor], proposals: list[Instances]
    ) -> tuple[RankedBoxes, Predictions]:
        """Score all proposals and return each image's N best boxes, without any loss.

        Gradients reach the box predictor, the box head and the features through the rows that
        are kept, as in the papers, and never the proposals. The choice itself has no gradient:
        only the kept RoIs are pooled and scored again with it, which gives the same gradients as
        scoring all with it, at a fraction of the cost.

        Args:
            features: level name -> (B, channels, height, width).
            proposals: one per image, with `proposal_boxes`.

        Returns:
            The ranked boxes, and the predictor's raw output for all proposals without gradient
            (for `detect`).
        """
        with torch.no_grad():
            predictions = self._predict(features, proposals)
            picks = self._pick(predictions, proposals)
        kept = [p[roi] for p, (roi, _, _) in zip(proposals, picks, strict=True)]
        if self._needs_gradient(features):
            rows = self._rows(self._predict(features, kept), kept, picks, chosen=True)
        else:
            rows = self._rows(predictions, proposals, picks, chosen=False)
        ranked = rank_rows(
            rows, [box for _, _, box in picks], [cls for _, cls, _ in picks], self.num_ranked
        )
        return ranked, predictions

    def detect(
        self,
        features: dict[str, torch.Tensor],
        proposals: list[Instances],
        predictions: Predictions,
    ) -> list[Instances]:
        """Return the stock detections from predictions that `rank` has already made.

        Args:
            features: level name -> (B, channels, height, width).
            proposals: those given to `rank`.
            predictions: those returned by `rank`.

        Returns:
            One per image, as StandardROIHeads returns them at inference.
        """
        instances, _ = self.box_predictor.inference(predictions, proposals)
        return self.forward_with_given_boxes(features, instances)

    def _predict(self, features: dict[str, torch.Tensor], proposals: list[Instances]):
        levels = [features[f] for f in self.box_in_features]
        pooled = self.box_pooler(levels, [p.proposal_boxes for p in proposals])
        return self.box_predictor(self.box_head(pooled))

    def _pick(self, predictions: Predictions, proposals: list[Instances]):
        probs = self.box_predictor.predict_probs(predictions, proposals)
        boxes = self.box_predictor.predict_boxes(predictions, proposals)
        return [
            select_boxes(
                probs_i[:, : self.num_classes],
                # A class-agnostic regressor has one box for all classes.
                _by_class(boxes_i).expand(-1, self.num_classes, -1),
                p.image_size,
                self.ranked_nms_thresh,
                self.num_ranked,
            )
            for probs_i, boxes_i, p in zip(probs, boxes, proposals, strict=True)
        ]

    def _rows(self, predictions: Predictions, proposals: list[Instances], picks, chosen: bool):
        """Gather (score, deltas) of the picks; `chosen`: predictions are of the picks alone."""
        probs = self.box_predictor.predict_probs(predictions, proposals)
        deltas = predictions[1].split([len(p) for p in proposals])
        rows = []
        for probs_i, deltas_i, (roi, cls, _) in zip(probs, deltas, picks, strict=True):
            index = torch.arange(len(roi), device=roi.device) if chosen else roi
            per_class = _by_class(deltas_i)
            own = cls if per_class.shape[1] > 1 else torch.zeros_like(cls)
            rows.append(torch.cat([probs_i[index, cls, None], per_class[index, own]], dim=1))
        return rows

    def _needs_gradient(self, features: dict[str, torch.Tensor]) -> bool:
        parameters = [*self.box_head.parameters(), *self.box_predictor.parameters()]
        return torch.is_grad_enabled() and any(
            x.requires_grad for x in (*features.values(), *parameters)
        )


def _by_class(values: torch.Tensor) -> torch.Tensor:
    """(R, K * 4) to (R, K, 4), also without any RoI."""
    return values.view(len(values), values.shape[1] // 4, 4)
