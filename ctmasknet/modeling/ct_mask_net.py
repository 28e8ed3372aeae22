"""CT-Mask-Net: the lesion model, read by an image head.

Shapes: B images, N ranked boxes, C image classes.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import ImageList, Instances

from .finite import check_finite
from .image_head import ImageHead, build_image_head
from .image_output import image_classes, image_labels
from .lesion_rcnn import LesionRCNN
from .precision import full_precision
from .profiling import profiled
from .ranked_boxes import RankedBoxesShape, fill_ranked_boxes, row_size
from .trainable import ONE_SHOT, freeze_all_but

Losses = dict[str, torch.Tensor]


@META_ARCH_REGISTRY.register()
class CTMaskNet(LesionRCNN):
    """Classify an image from the ranked boxes of a Mask R-CNN.

    The Mask R-CNN has no losses of its own, but in one-shot training (MODEL.TRAINABLE "one-shot"):
    images with "instances" then have lesion losses, and those with a "label" the image loss.
    `run_losses` is a further seam for `ctmasknet.fast`. Source: Ter-Sarkisov 2020,
    "COVID-CT-Mask-Net"; of one-shot training his later "Single-Shot" and "One-Shot" models.
    """

    @configurable
    def __init__(
        self,
        *,
        image_head: ImageHead,
        global_features: bool = False,
        trainable: str = "heads+bn",
        train_shortcut_norms: bool = True,
        **kwargs,
    ):
        """Build the network and freeze what is not trained.

        Args:
            image_head: maps RankedBoxes to image logits (B, C); see IMAGE_HEAD_REGISTRY.
            global_features: whether the head reads the mean of the map, too.
            trainable, train_shortcut_norms: see `freeze_all_but`.
            kwargs: those of LesionRCNN; its `roi_heads` must have `rank` and `detect`.
        """
        super().__init__(**kwargs)
        if not hasattr(self.roi_heads, "rank"):
            raise ValueError(
                f"CTMaskNet needs ROI heads that rank boxes, but MODEL.ROI_HEADS.NAME builds "
                f"{type(self.roi_heads).__name__}; set it to RankedROIHeads"
            )
        self.image_head: ImageHead = image_head
        self.global_features = global_features
        self.one_shot = trainable == ONE_SHOT
        freeze_all_but(self, trainable, train_shortcut_norms)
        self.train()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        ret = super().from_config(cfg)
        keys, heads = cfg.MODEL.RANKED_BOXES, ret["roi_heads"]
        level = cfg.MODEL.ROI_HEADS.IN_FEATURES[-1]
        ret["global_features"] = asked = cfg.MODEL.IMAGE_HEAD.GLOBAL_FEATURES
        shape = RankedBoxesShape(
            keys.NUM,
            row_size(cfg.MODEL.ROI_HEADS.NUM_CLASSES, keys.CLASS_ONE_HOT),
            heads.box_predictor.cls_score.in_features if keys.FEATURES else 0,
            ret["backbone"].output_shape()[level].channels if asked else 0,
        )
        ret["image_head"] = build_image_head(cfg, shape)
        ret["trainable"] = cfg.MODEL.TRAINABLE
        ret["train_shortcut_norms"] = cfg.MODEL.TRAIN_SHORTCUT_NORMS
        return ret

    def train(self, mode: bool = True) -> "CTMaskNet":
        """Switch the image head alone.

        The detector under it behaves as at inference: no detection losses, and BatchNorm
        statistics that never move. One-shot training lets it learn for a moment.
        """
        super().train(mode)
        for part in (self.backbone, self.proposal_generator, self.roi_heads):
            part.eval()
        return self

    def forward(self, batched_inputs: list[dict]) -> Losses | list[dict]:
        """Return the losses in training, else what `inference` returns.

        Args:
            batched_inputs: one per image: "image", (3, height, width) in MODEL's input format and
                range; in training also "label", int in [0, C), in one-shot training that or
                "instances" with the lesions. Instead of "image", all of a batch
                may have "ranked_boxes": what `RankedBoxes.distinct` of the image gave before.
        """
        if not self.training:
            return self.inference(batched_inputs)
        if not self.one_shot:
            return self._image_losses(batched_inputs)
        with_lesions = [x for x in batched_inputs if "instances" in x]
        with_label = [x for x in batched_inputs if "label" in x or "instances" not in x]
        found: Losses = {}
        if with_lesions:
            with self._learning_lesions():
                found |= LesionRCNN.forward(self, with_lesions)
        return found | self._image_losses(with_label) if with_label else found

    @contextlib.contextmanager
    def _learning_lesions(self) -> Iterator[None]:
        """Let proposals and heads take targets and give losses; norms stay as they are."""
        parts = (self.proposal_generator, self.roi_heads)
        for part in parts:
            part.train()
        try:
            yield
        finally:
            for part in parts:
                part.eval()

    def _image_losses(self, batched_inputs: list[dict]) -> Losses:
        image_labels(batched_inputs, "CT-Mask-Net")  # an error before the network is run
        if "ranked_boxes" in batched_inputs[0]:
            logits = self._classify_ranked(batched_inputs, self.roi_heads.fill_generator)
            return self._head_losses(logits, batched_inputs)

        def losses(inputs: list[dict]) -> Losses:
            with self.computing(inputs):
                return self._head_losses(self._classify(inputs)[0], inputs)

        return self.run_losses(losses, batched_inputs)

    def run_losses(self, losses: Callable[[list[dict]], Losses], inputs: list[dict]) -> Losses:
        """Call `losses` on the batch; returns means over its images, with gradients."""
        return losses(inputs)

    def inference(
        self,
        batched_inputs: list[dict],
        detected_instances: list[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> list[dict]:
        """Classify the images of a batch and return their lesions.

        Args:
            batched_inputs: as in `forward`, without labels; "height" and "width" are the size in
                which instances are returned, "field" the part of it that the network sees.
            detected_instances: must be None; the image head needs boxes of its own.
            do_postprocess: False leaves instances in network input pixels, masks unpasted.

        Returns:
            One dict per image: "image_logits" (C,), "image_probs" (C,) their softmax,
            "image_class" int, "ranked_boxes" (RankedBoxes of the image, in network input pixels),
            and "instances" as GeneralizedRCNN returns them. Inputs with "ranked_boxes" give the
            first three alone.

        Raises:
            NotFiniteError: an image gives NaN or infinity; names it.
        """
        if detected_instances is not None:
            raise ValueError("CTMaskNet ranks its own boxes: detected_instances must be None")
        if batched_inputs and "ranked_boxes" in batched_inputs[0]:
            return image_classes(self._classify_ranked(batched_inputs))
        return super().inference(batched_inputs, None, do_postprocess)

    def _infer(self, inputs: list[dict], do_postprocess: bool) -> list[dict]:
        logits, ranked, features, proposals, predictions = self._classify(inputs)
        found = self.roi_heads.detect(features, proposals, predictions)
        instances = (
            self._postprocessed(inputs, found)
            if do_postprocess
            else [{"instances": x} for x in found]
        )
        return [
            {**of_image, "ranked_boxes": ranked[i], **own}
            for i, (of_image, own) in enumerate(zip(image_classes(logits), instances, strict=True))
        ]

    def _classify(self, inputs: list[dict]) -> tuple:
        """Return image logits (B, C), ranked boxes, features, proposals and raw predictions."""
        images, features = self.extract_features(inputs)
        # Before the RPN, whose best anchors need not show it.
        check_finite(*features.values())
        with torch.no_grad():
            proposals, _ = self.proposal_generator(images, features, None)
        ranked, predictions = self.roi_heads.rank(features, proposals, self.training)
        if self.global_features:
            level = features[self.roi_heads.box_in_features[-1]]
            pooled = mean_over_images(level, images, ranked.rows.dtype)
            ranked = replace(ranked, global_features=pooled)
        with profiled("image_head"), full_precision(self.device):
            logits = self.image_head(ranked)
        return logits, ranked, features, proposals, predictions

    def _classify_ranked(
        self, inputs: list[dict], generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Image logits (B, C) of ranked boxes that were computed before."""
        images = [x["ranked_boxes"].to(self.device) for x in inputs]
        return self.image_head(fill_ranked_boxes(images, self.roi_heads.num_ranked, generator))

    def _head_losses(self, logits: torch.Tensor, inputs: list[dict]) -> Losses:
        labels = image_labels(inputs, "CT-Mask-Net").to(self.device)
        with full_precision(self.device):
            return self.image_head.losses(logits, labels)


def mean_over_images(
    level: torch.Tensor, images: ImageList, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Return the means (B, channels) of a level (B, channels, h, w) over images without padding.

    A cell counts if any of its pixels does.
    """
    height, width = images.tensor.shape[-2:]
    inside = [
        own[:, : -(-h * own.shape[1] // height), : -(-w * own.shape[2] // width)]
        for own, (h, w) in zip(level, images.image_sizes, strict=True)
    ]
    return torch.stack([own.mean((1, 2), dtype=dtype) for own in inside])
