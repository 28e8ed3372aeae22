"""ROI heads that can also rank every scored box of an image.

Shapes: B images, R RoIs of one image, K lesion classes, N ranked boxes.
"""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import ROI_HEADS_REGISTRY, StandardROIHeads
from detectron2.modeling.poolers import convert_boxes_to_pooler_format
from detectron2.modeling.roi_heads import FastRCNNConvFCHead
from detectron2.structures import ImageList, Instances
from detectron2.utils import comm
from torchvision.ops import clip_boxes_to_image

from ..config import require_one_of
from ..fast.projected_roi_align import commuting_wins, pool_and_project
from ..fast.roi_align import SeparableROIAlign, use_separable
from .box_predictor import LesionBoxPredictor, Predictions
from .box_selection import Selection
from .box_transform import by_class
from .profiling import stage
from .ranked_boxes import ENCODINGS, FILLS, RankedBoxes, encode_rows, rank_rows


@ROI_HEADS_REGISTRY.register()
class RankedROIHeads(StandardROIHeads):
    """Stock heads with a no-loss mode that keeps all scores (`rank`)."""

    @configurable
    def __init__(
        self,
        *,
        num_ranked: int,
        ranked_nms_thresh: float,
        encoding: str = "deltas",
        class_one_hot: bool = False,
        fill: str = "even",
        seed: int = 0,
        **kwargs,
    ):
        """Build the stock heads.

        Args:
            num_ranked: N, rows of the ranked tensor.
            ranked_nms_thresh: IoU of the NMS within each class before ranking.
            encoding: "deltas" or "image"; see `encode_rows`.
            class_one_hot: append the lesion class to each row.
            fill: how fewer than N boxes become N rows in training: "even" or "random".
            seed: of the random fill.
            kwargs: those of StandardROIHeads.

        Raises:
            ValueError: unknown encoding or fill, or no row at all.
        """
        require_one_of("MODEL.RANKED_BOXES.ENCODING", encoding, ENCODINGS)
        require_one_of("MODEL.RANKED_BOXES.FILL", fill, FILLS)
        if num_ranked < 1:
            raise ValueError(f"MODEL.RANKED_BOXES.NUM is {num_ranked}; it must be 1 or more")
        super().__init__(**kwargs)
        for pooler in (self.box_pooler, self.mask_pooler if self.mask_on else None):
            if pooler is not None:
                use_separable(pooler)
        self.num_ranked = num_ranked
        self.ranked_nms_thresh = ranked_nms_thresh
        self.encoding = encoding
        self.num_one_hot = self.num_classes if class_one_hot else 0
        self.fill_generator = torch.Generator().manual_seed(seed) if fill == "random" else None

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict) -> dict:
        ret = super().from_config(cfg, input_shape)
        ret["box_predictor"] = LesionBoxPredictor(cfg, ret["box_head"].output_shape)
        ret["num_ranked"] = cfg.MODEL.RANKED_BOXES.NUM
        ret["ranked_nms_thresh"] = cfg.MODEL.RANKED_BOXES.NMS_THRESH
        ret["encoding"] = cfg.MODEL.RANKED_BOXES.ENCODING
        ret["class_one_hot"] = cfg.MODEL.RANKED_BOXES.CLASS_ONE_HOT
        ret["fill"] = cfg.MODEL.RANKED_BOXES.FILL
        # A negative SEED asks for none in particular: Detectron2 has then seeded PyTorch by time.
        ret["seed"] = (cfg.SEED if cfg.SEED >= 0 else torch.initial_seed()) + comm.get_rank()
        return ret

    def forward(
        self,
        images: ImageList,
        features: dict[str, torch.Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, torch.Tensor]]:
        """As StandardROIHeads: proposals and losses in training, else instances and no loss."""
        if self.training:
            with stage("boxes"):
                return super().forward(images, features, proposals, targets)
        with stage("boxes"):
            predictions = self._predict(features, proposals)
        return self.detect(features, proposals, predictions), {}

    def rank(
        self,
        features: dict[str, torch.Tensor],
        proposals: list[Instances],
        training: bool = False,
    ) -> tuple[RankedBoxes, Predictions]:
        """Score all proposals and return each image's N best boxes, without any loss.

        Gradients reach the box predictor, the box head and the features through the rows that
        are kept, as in the papers, and never the proposals. The choice itself has no gradient:
        only the kept RoIs are pooled and scored again with it, which gives the same gradients as
        scoring all with it, at a fraction of the cost.

        Args:
            features: level name -> (B, channels, height, width).
            proposals: one per image, with `proposal_boxes`.
            training: fill at random if MODEL.RANKED_BOXES.FILL says so.

        Returns:
            The ranked boxes, and the predictor's raw output for all proposals without gradient
            (for `detect`).

        Raises:
            NotFiniteError: NaN or infinity among an image's predictions.
        """
        with stage("boxes"):
            with torch.no_grad():
                predictions = self._predict(features, proposals)
                picks = self.box_predictor.select(
                    predictions, proposals, self.ranked_nms_thresh, self.num_ranked
                )
            if self._needs_gradient(features):
                kept = [p[pick.roi] for p, pick in zip(proposals, picks, strict=True)]
                chosen = [
                    pick._replace(roi=torch.arange(len(pick.roi)).to(pick.roi)) for pick in picks
                ]
                rows = self._rows(self._predict(features, kept), kept, chosen)
            else:
                rows = self._rows(predictions, proposals, picks)
            ranked = rank_rows(
                rows,
                [pick.box for pick in picks],
                [pick.lesion_class for pick in picks],
                self.num_ranked,
                self.fill_generator if training else None,
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
        with stage("boxes"):
            instances, _ = self.box_predictor.inference(predictions, proposals)
        return self.forward_with_given_boxes(features, instances)

    def forward_with_given_boxes(
        self, features: dict[str, torch.Tensor], instances: list[Instances]
    ) -> list[Instances]:
        """As StandardROIHeads: the instances with their masks."""
        with stage("masks"):
            if next(iter(features.values())).device.type != "cpu":
                return super().forward_with_given_boxes(features, instances)
            found = []
            for i, own in enumerate(instances):  # each reuses the memory of the one before
                level = {name: values[i : i + 1] for name, values in features.items()}
                found += super().forward_with_given_boxes(level, [own])
            return found

    def _predict(
        self, features: dict[str, torch.Tensor], proposals: list[Instances]
    ) -> Predictions:
        levels = [features[f] for f in self.box_in_features]
        boxes = [p.proposal_boxes for p in proposals]
        if self._commutes(levels, sum(map(len, boxes))):
            (level,), (align,), head = levels, self.box_pooler.level_poolers, self.box_head
            rois = convert_boxes_to_pooler_format(boxes)
            hidden = pool_and_project(level, rois, align, head.fcs[0])
            for layer in list(head)[2:]:  # after the flattening and the first linear layer
                hidden = layer(hidden)
        else:
            hidden = self.box_head(self.box_pooler(levels, boxes))
        return self.box_predictor(hidden)

    def _commutes(self, levels: list[torch.Tensor], num_rois: int) -> bool:
        """Whether pooling and the box head's first layer may change places, and gain by it."""
        head, align = self.box_head, self.box_pooler.level_poolers[0]
        return (
            len(levels) == 1
            and levels[0].device.type == "cpu"
            and type(head) is FastRCNNConvFCHead
            and not head.conv_norm_relus
            and isinstance(align, SeparableROIAlign)
            and align.separable
            and commuting_wins(num_rois, levels[0].shape, align, head.fcs[0].out_features)
        )

    def _rows(
        self, predictions: Predictions, proposals: list[Instances], picks: list[Selection]
    ) -> list[torch.Tensor]:
        """Gather and encode the picks; `pick.roi` counts within `proposals`."""
        probs = self.box_predictor.predict_probs(predictions, proposals)
        deltas = predictions[1].split([len(p) for p in proposals])
        boxes = self.box_predictor.predict_boxes(predictions, proposals)
        return [
            encode_rows(
                probs_i[pick.roi, pick.lesion_class],
                _own(deltas_i, pick),
                clip_boxes_to_image(_own(boxes_i, pick), p.image_size),
                pick.lesion_class,
                p.image_size,
                self.encoding,
                self.num_one_hot,
            )
            for probs_i, deltas_i, boxes_i, p, pick in zip(
                probs, deltas, boxes, proposals, picks, strict=True
            )
        ]

    def _needs_gradient(self, features: dict[str, torch.Tensor]) -> bool:
        parameters = [*self.box_head.parameters(), *self.box_predictor.parameters()]
        return torch.is_grad_enabled() and any(
            x.requires_grad for x in (*features.values(), *parameters)
        )


def _own(values: torch.Tensor, pick: Selection) -> torch.Tensor:
    """The pick's own class out of (R, K * 4); a class-agnostic regressor has one for all."""
    per_class = by_class(values)
    agnostic = per_class.shape[1] == 1
    return per_class[pick.roi, torch.zeros_like(pick.roi) if agnostic else pick.lesion_class]
