"""Our stand-in for the author's implementation: torchvision's Mask R-CNN of the same size.

Shapes: R RoIs of one image, K lesion classes, N ranked boxes, C image classes.
"""

from __future__ import annotations

import torch
import torchvision
from detectron2.config import CfgNode
from torch import nn
from torch.nn import functional as F
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import (
    FeaturePyramidNetwork,
    MultiScaleRoIAlign,
    batched_nms,
    clip_boxes_to_image,
)


class _Backbone(nn.Module):
    """torchvision's ResNet, cut as the config says, and its FPN."""

    def __init__(self, cfg: CfgNode):
        super().__init__()
        resnet = getattr(torchvision.models, f"resnet{cfg.MODEL.RESNETS.DEPTH}")(weights=None)
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        self.levels = [int(name[-1]) for name in cfg.MODEL.FPN.IN_FEATURES]
        stages = (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4)
        self.stages = nn.ModuleDict({str(i): stages[i - 2] for i in range(2, self.levels[-1] + 1)})
        width = 64 if cfg.MODEL.RESNETS.DEPTH < 50 else 256
        channels = [width * 2 ** (level - 2) for level in self.levels]
        self.out_channels = cfg.MODEL.FPN.OUT_CHANNELS
        self.fpn = FeaturePyramidNetwork(channels, self.out_channels)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.stem(x)
        found = {}
        for name, stage in self.stages.items():
            x = stage(x)
            if int(name) in self.levels:
                found[name] = x
        return self.fpn(found)


def build_peer(cfg: CfgNode, side: int) -> MaskRCNN:
    """The lesion model of a config, in torchvision's parts.

    Args:
        cfg: of a lesion model or a CT-Mask-Net.
        side: of the images, in pixels; they are not resized.
    """
    model = cfg.MODEL
    backbone = _Backbone(cfg)
    channels, names = backbone.out_channels, [str(level) for level in backbone.levels]
    width, classes = model.ROI_BOX_HEAD.FC_DIM, model.ROI_HEADS.NUM_CLASSES + 1
    pool, mask_width = model.ROI_BOX_HEAD.POOLER_RESOLUTION, model.ROI_MASK_HEAD.CONV_DIM
    sizes, ratios = (model.ANCHOR_GENERATOR[key] for key in ("SIZES", "ASPECT_RATIOS"))
    per_level = [x * len(names) if len(x) == 1 else x for x in (sizes, ratios)]
    return MaskRCNN(
        backbone,
        min_size=side,
        max_size=side,
        image_mean=[x / 255 for x in model.PIXEL_MEAN],
        image_std=[x / 255 for x in model.PIXEL_STD],
        rpn_anchor_generator=AnchorGenerator(*(tuple(map(tuple, x)) for x in per_level)),
        rpn_pre_nms_top_n_train=model.RPN.PRE_NMS_TOPK_TRAIN,
        rpn_pre_nms_top_n_test=model.RPN.PRE_NMS_TOPK_TEST,
        rpn_post_nms_top_n_train=model.RPN.POST_NMS_TOPK_TRAIN,
        rpn_post_nms_top_n_test=model.RPN.POST_NMS_TOPK_TEST,
        rpn_nms_thresh=model.RPN.NMS_THRESH,
        rpn_bg_iou_thresh=model.RPN.IOU_THRESHOLDS[0],
        rpn_fg_iou_thresh=model.RPN.IOU_THRESHOLDS[-1],
        rpn_batch_size_per_image=model.RPN.BATCH_SIZE_PER_IMAGE,
        rpn_positive_fraction=model.RPN.POSITIVE_FRACTION,
        box_roi_pool=MultiScaleRoIAlign(names, pool, model.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO),
        box_head=TwoMLPHead(channels * pool**2, width),
        box_predictor=FastRCNNPredictor(width, classes),
        box_bg_iou_thresh=model.ROI_HEADS.IOU_THRESHOLDS[0],
        box_fg_iou_thresh=model.ROI_HEADS.IOU_THRESHOLDS[-1],
        box_batch_size_per_image=model.ROI_HEADS.BATCH_SIZE_PER_IMAGE,
        box_positive_fraction=model.ROI_HEADS.POSITIVE_FRACTION,
        box_score_thresh=model.ROI_HEADS.SCORE_THRESH_TEST,
        box_nms_thresh=model.ROI_HEADS.NMS_THRESH_TEST,
        box_detections_per_img=cfg.TEST.DETECTIONS_PER_IMAGE,
        mask_roi_pool=MultiScaleRoIAlign(
            names, model.ROI_MASK_HEAD.POOLER_RESOLUTION, model.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO
        ),
        mask_head=MaskRCNNHeads(channels, (mask_width,) * model.ROI_MASK_HEAD.NUM_CONV, 1),
        mask_predictor=MaskRCNNPredictor(mask_width, mask_width, classes),
    )


class PeerClassifier(nn.Module):
    """Classifies one image at a time from its ranked boxes."""

    def __init__(self, cfg: CfgNode, side: int):
        """Build the layers and freeze what MODEL.TRAINABLE does not train; args as `build_peer`."""
        super().__init__()
        self.detector = build_peer(cfg, side).eval()
        self.num, self.nms_thresh = (cfg.MODEL.RANKED_BOXES[k] for k in ("NUM", "NMS_THRESH"))
        dim = cfg.MODEL.IMAGE_HEAD.FC_DIM
        self.image_head = nn.Sequential(
            *(nn.Linear(self.num * 5, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU()),
            nn.Linear(dim, cfg.MODEL.IMAGE_HEAD.NUM_CLASSES),
        )
        trained = cfg.MODEL.TRAINABLE
        for part in (self.detector.backbone, self.detector.roi_heads):
            part.requires_grad_(trained == "full")
        self.detector.rpn.requires_grad_(False)
        if trained == "heads+bn":
            for module in self.detector.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.requires_grad_(True)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map an image (3, height, width), float in [0, 1], to its logits (C,)."""
        images, _ = self.detector.transform([image])
        features = self.detector.backbone(images.tensors)
        with torch.no_grad():
            proposals, _ = self.detector.rpn(images, features)
        heads = self.detector.roi_heads
        pooled = heads.box_roi_pool(features, proposals, images.image_sizes)
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
        scores = F.softmax(logits, -1)[:, 1:]  # torchvision's class 0 is the background
        boxes = heads.box_coder.decode(deltas, proposals)[:, 1:]
        deltas = deltas.reshape(len(deltas), -1, 4)[:, 1:]
        kept = self._rank(scores.detach(), boxes.detach(), images.image_sizes[0])
        rows = torch.cat([scores.flatten()[kept, None], deltas.reshape(-1, 4)[kept]], dim=1)
        return self.image_head(rows.flatten())

    def _rank(
        self, scores: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        """Indices of the N best of R * K boxes, repeated if there are fewer; (N,) int64."""
        classes = torch.arange(scores.shape[1], device=scores.device).expand_as(scores).flatten()
        boxes = clip_boxes_to_image(boxes.reshape(-1, 4), size)
        kept = batched_nms(boxes, scores.flatten(), classes, self.nms_thresh)[: self.num]
        places = torch.arange(self.num, device=kept.device) * len(kept) // self.num
        return kept[places]
