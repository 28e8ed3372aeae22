"""ROI heads that can also rank every scored box of an image.

Shapes: B images, R RoIs of one image, K lesion classes, N ranked boxes.
"""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ROIAlign
from detectron2.modeling import ROI_HEADS_REGISTRY, StandardROIHeads
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils import comm
from torchvision.ops import clip_boxes_to_image

from ..config import require_one_of
from .box_predictor import LesionBoxPredictor, Predictions
from .box_selection import Selection
from .box_transform import by_class
from .profiling import profiled
from .ranked_boxes import (
    ENCODINGS,
    FEATURES,
    FILLS,
    RankedBoxes,
    encode_rows,
    fill_ranked_boxes,
)


@ROI_HEADS_REGISTRY.register()
class RankedROIHeads(StandardROIHeads):
    """Stock heads with a no-loss mode that keeps all scores (`rank`).

    `box_features` and `rank` are seams for `ctmasknet.fast`.
    """

    @configurable
    def __init__(
        self,
        *,
        num_ranked: int,
        ranked_nms_thresh: float,
        encoding: str = "deltas",
        class_one_hot: bool = False,
        features: str = "",
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
            features: "box_head" adds the box head's vector of each box, "" nothing.
            fill: how fewer than N boxes become N rows in training: "even" or "random".
            seed: of the random fill.
            kwargs: those of StandardROIHeads.

        Raises:
            ValueError: unknown encoding, features or fill, or no row at all.
        """
        require_one_of("MODEL.RANKED_BOXES.ENCODING", encoding, ENCODINGS)
        require_one_of("MODEL.RANKED_BOXES.FEATURES", features, FEATURES)
        require_one_of("MODEL.RANKED_BOXES.FILL", fill, FILLS)
        if num_ranked < 1:
            raise ValueError(f"MODEL.RANKED_BOXES.NUM is {num_ranked}; it must be 1 or more")
        super().__init__(**kwargs)
        for pooler in (self.box_pooler, self.mask_pooler if self.mask_on else None):
            levels = pooler.level_poolers if pooler else []
            for i, level in enumerate(levels):
                if type(level) is ROIAlign:
                    levels[i] = PreciseROIAlign(
                        level.output_size, level.spatial_scale, level.sampling_ratio, level.aligned
                    )
        self.num_ranked = num_ranked
        self.ranked_nms_thresh = ranked_nms_thresh
        self.encoding = encoding
        self.num_one_hot = self.num_classes if class_one_hot else 0
        self.features = features
        self.fill_generator = torch.Generator().manual_seed(seed) if fill == "random" else None

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict) -> dict:
        ret = super().from_config(cfg, input_shape)
        ret["box_predictor"] = LesionBoxPredictor(cfg, ret["box_head"].output_shape)
        ret["num_ranked"] = cfg.MODEL.RANKED_BOXES.NUM
        ret["ranked_nms_thresh"] = cfg.MODEL.RANKED_BOXES.NMS_THRESH
        ret["encoding"] = cfg.MODEL.RANKED_BOXES.ENCODING
        ret["class_one_hot"] = cfg.MODEL.RANKED_BOXES.CLASS_ONE_HOT
        ret["features"] = cfg.MODEL.RANKED_BOXES.FEATURES
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
            with profiled("boxes"):
                return super().forward(images, features, proposals, targets)
        with profiled("boxes"):
            predictions, _ = self.score(features, proposals)
        return self.detect(features, proposals, predictions), {}

    def score(
        self, features: dict[str, torch.Tensor], proposals: list[Instances]
    ) -> tuple[Predictions, torch.Tensor]:
        """Return the box predictor's raw output for the proposals of all images, and its input."""
        levels = [features[f] for f in self.box_in_features]
        vectors = self.box_features(levels, [p.proposal_boxes for p in proposals])
        return self.box_predictor(vectors), vectors

    def box_features(self, levels: list[torch.Tensor], boxes: list[Boxes]) -> torch.Tensor:
        """Pool RoIs and pass them through the box head.

        Args:
            levels: (B, channels, height, width) of each FPN level.
            boxes: B times R boxes, in input pixels.

        Returns:
            (sum of all R, features of the box head).
        """
        return self.box_head(self.box_pooler(levels, boxes))

    def rank(
        self,
        features: dict[str, torch.Tensor],
        proposals: list[Instances],
        training: bool = False,
    ) -> tuple[RankedBoxes, Predictions]:
        """Score all proposals and return each image's N best boxes, without any loss.

        Gradients reach the box predictor, the box head and the features through the rows that
        are kept, as in the papers, and never the proposals. The choice itself has no gradient.

        Args:
            features: level name -> (B, channels, height, width).
            proposals: one per image, with `proposal_boxes`.
            training: fill at random if MODEL.RANKED_BOXES.FILL says so.

        Returns:
            The ranked boxes, and the predictor's raw output for all proposals (for `detect`).

        Raises:
            NotFiniteError: NaN or infinity among an image's predictions.
        """
        with profiled("boxes"):
            predictions, vectors = self.score(features, proposals)
            picks = self.choose(predictions, proposals)
            return self.gather(predictions, vectors, proposals, picks, training), predictions

    @torch.no_grad()
    def choose(self, predictions: Predictions, proposals: list[Instances]) -> list[Selection]:
        """Choose and rank at most N boxes of each image among all classes of all proposals."""
        return self.box_predictor.select(
            predictions, proposals, self.ranked_nms_thresh, self.num_ranked
        )

    def gather(
        self,
        predictions: Predictions,
        vectors: torch.Tensor,
        proposals: list[Instances],
        picks: list[Selection],
        training: bool = False,
    ) -> RankedBoxes:
        """Encode each image's picks as rows and fill them to N.

        Args:
            predictions: raw output for the proposals of all images; gradients flow through it.
            vectors: (sum of all R, F), the box head's, of which the raw output was made.
            proposals: B times R.
            picks: B selections; `roi` counts within an image's proposals.
            training: see `rank`.
        """
        sizes = [len(p) for p in proposals]
        probs = self.box_predictor.predict_probs(predictions, proposals)
        deltas = predictions[1].split(sizes)
        of_rois = vectors.flatten(1).to(predictions[0].dtype).split(sizes)
        boxes = self.box_predictor.predict_boxes(predictions, proposals)
        images = [
            RankedBoxes(
                encode_rows(
                    probs_i[pick.roi, pick.lesion_class],
                    _own(deltas_i, pick),
                    clip_boxes_to_image(_own(boxes_i, pick), p.image_size),
                    pick.lesion_class,
                    p.image_size,
                    self.encoding,
                    self.num_one_hot,
                ),
                pick.box,
                pick.lesion_class,
                torch.ones_like(pick.lesion_class, dtype=torch.bool),
                pick.box.new_tensor(p.image_size),
                vectors_i[pick.roi] if self.features else None,
            )
            for probs_i, deltas_i, boxes_i, vectors_i, p, pick in zip(
                probs, deltas, boxes, of_rois, proposals, picks, strict=True
            )
        ]
        generator = self.fill_generator if training else None
        return fill_ranked_boxes(images, self.num_ranked, generator)

    def detect(
        self,
        features: dict[str, torch.Tensor],
        proposals: list[Instances],
        predictions: Predictions,
    ) -> list[Instances]:
        """Return the stock detections from predictions that were made before.

        Args:
            features: level name -> (B, channels, height, width).
            proposals: one per image.
            predictions: the predictor's raw output for them.

        Returns:
            One per image, as StandardROIHeads returns them at inference.
        """
        with profiled("boxes"):
            instances, _ = self.box_predictor.inference(predictions, proposals)
        return self.forward_with_given_boxes(features, instances)

    def forward_with_given_boxes(
        self, features: dict[str, torch.Tensor], instances: list[Instances]
    ) -> list[Instances]:
        """As StandardROIHeads: the instances with their masks."""
        with profiled("masks"):
            return super().forward_with_given_boxes(features, instances)


class PreciseROIAlign(ROIAlign):
    """Detectron2's ROIAlign whose coordinates are never rounded to half precision.

    torchvision wants features and RoIs of one dtype, and a corner in bfloat16 moves by pixels.
    """

    def forward(self, input: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        """Pool RoIs.

        Args:
            input: features, (B, channels, height, width) float.
            rois: (R, 5) float: image in the batch, then x0 y0 x1 y1 in pixels of the input image.

        Returns:
            (R, channels, bins, bins) of the features' dtype.
        """
        dtype = torch.promote_types(input.dtype, rois.dtype)
        return super().forward(input.to(dtype), rois.to(dtype)).to(input.dtype)


def _own(values: torch.Tensor, pick: Selection) -> torch.Tensor:
    """The pick's own class out of (R, K * 4); a class-agnostic regressor has one for all."""
    per_class = by_class(values)
    agnostic = per_class.shape[1] == 1
    return per_class[pick.roi, torch.zeros_like(pick.roi) if agnostic else pick.lesion_class]
