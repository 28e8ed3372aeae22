"""Dataset dicts to losses or predictions; importing it fills Detectron2's registries."""

from .anchors import RoundedAnchorGenerator
from .backbone import build_truncated_resnet_fpn_backbone
from .box_set_heads import AttentionBoxHead, PooledBoxHead, SetBoxHead
from .ct_mask_net import CTMaskNet
from .image_head import IMAGE_HEAD_REGISTRY, ImageHead, RankedBoxHead, build_image_head
from .image_models import ImageMobileNet, ImageModel, ImageResNet, IntensityHistogram
from .kinds import is_classifier, is_one_shot, learns_lesions, reads_boxes
from .lesion_rcnn import LesionRCNN
from .mask_head import MaskLogitHead
from .quantity_head import LesionQuantityHead
from .ranked_boxes import RankedBoxes, RankedBoxesShape
from .roi_heads import RankedROIHeads
from .rpn import LesionRPN
from .semantic_head import LesionSemSegHead
from .semantic_rcnn import SemanticLesionRCNN

__all__ = [
    "AttentionBoxHead",
    "CTMaskNet",
    "IMAGE_HEAD_REGISTRY",
    "ImageHead",
    "ImageMobileNet",
    "ImageModel",
    "ImageResNet",
    "IntensityHistogram",
    "LesionQuantityHead",
    "LesionRCNN",
    "LesionRPN",
    "LesionSemSegHead",
    "MaskLogitHead",
    "PooledBoxHead",
    "RankedBoxHead",
    "RankedBoxes",
    "RankedBoxesShape",
    "RankedROIHeads",
    "RoundedAnchorGenerator",
    "SemanticLesionRCNN",
    "SetBoxHead",
    "build_image_head",
    "build_truncated_resnet_fpn_backbone",
    "is_classifier",
    "is_one_shot",
    "learns_lesions",
    "reads_boxes",
]
