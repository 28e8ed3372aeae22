"""Networks and checkpoints in the author's layout, for the tests of conversion.

torchvision's Mask R-CNN, from which the author's code was derived, serves as the author's network:
same anchors, same layers, other names.
"""

import re
import sys
import warnings
from collections import OrderedDict
from types import ModuleType

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

SIZES = (2.0, 4.0, 8.0, 16.0, 32.0)
RATIOS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0)
ANCHOR_CLASSES = (
    "models.mask_net.rpn_segmentation",
    "models.mask_net.rpn",
    "torchvision.models.detection.rpn",
)


def author_network(
    name,
    classes=2,
    width=32,
    mask_width=16,
    norm=nn.BatchNorm2d,
    pooled=False,
    anchors=(SIZES, RATIOS),
):
    """torchvision's Mask R-CNN, set up like the author's lesion model "R18", "R34_T1", "R50", ...

    classes: of lesions. width, mask_width: channels of the FPN and the mask head, fewer than the
    author's to save time. pooled: a fifth RPN level, as in R50 before November 2020. anchors:
    sizes and ratios.
    """
    depth, _, cut = name[1:].partition("_T")
    layers = (1, 2, 3, 4) if depth == "50" else (4 - int(cut or 0),)
    expansion = 4 if depth == "50" else 1
    backbone = BackboneWithFPN(
        getattr(torchvision.models, f"resnet{depth}")(weights=None, norm_layer=norm),
        {f"layer{k}": str(i) for i, k in enumerate(layers)},
        [2 ** (k + 5) * expansion for k in layers],
        width,
    )
    if not pooled:
        backbone.fpn.extra_blocks = None
    levels, names = len(layers) + pooled, [str(i) for i in range(len(layers))]
    return MaskRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(*((x,) * levels for x in anchors)),
        rpn_nms_thresh=0.75,
        box_roi_pool=MultiScaleRoIAlign(names, 7, 2),
        box_head=TwoMLPHead(width * 49, 128),
        box_predictor=FastRCNNPredictor(128, classes + 1),
        box_detections_per_img=128,
        mask_roi_pool=MultiScaleRoIAlign(names, 14, 2),
        mask_head=MaskRCNNHeads(width, (mask_width,) * (4 if depth == "50" else 1), 1),
        mask_predictor=MaskRCNNPredictor(mask_width, mask_width, classes + 1),
    ).eval()


def author_weights(network, ranked=0, fc_dim=8, image_classes=3):
    """The network's tensors under the author's names; with ranked > 0, those of a CT-Mask-Net."""
    weights = {_author_name(name): x for name, x in network.state_dict().items()}
    if not ranked:
        return weights
    weights = {k: v for k, v in weights.items() if ".mask_" not in k}
    shapes = {
        "fc_scores": (fc_dim, 5 * ranked),
        "fc_scores_2": (fc_dim, fc_dim),
        "fc_scores_img": (image_classes, fc_dim),
    }
    for layer, shape in shapes.items():
        weights[f"s2new.{layer}.weight"] = torch.randn(shape) / shape[1] ** 0.5
        weights[f"s2new.{layer}.bias"] = torch.randn(shape[0])
    return weights


def _author_name(name):
    name = re.sub(r"^(backbone\.fpn\.\w+_blocks\.\d)\.0\.", r"\1.", name)
    name = re.sub(r"^rpn\.head\.conv\.0\.0\.", "rpn.head.conv.", name)
    return re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", name)


def write_reference_checkpoint(
    path,
    weights,
    legacy=False,
    anchor_module=ANCHOR_CLASSES[0],
    levels=5,
    anchors=(SIZES, RATIOS),
    **replaced,
):
    """Save weights (author's name -> tensor) as the author's training code does.

    The pickled anchor generator's class exists only while the file is written. `replaced` are
    entries of the file; None leaves one out.
    """
    generator_class = type("AnchorGenerator", (nn.Module,), {"__module__": anchor_module})
    generator = generator_class()
    generator.sizes = (anchors[0],) * levels
    generator.aspect_ratios = (anchors[1],) * levels
    content = {
        "epoch": "3",
        "model_name": "maskrcnn",
        "model_weights": OrderedDict(weights),
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 1e-5, "params": [0]}]},
        "lrate": 1e-5,
        "anchor_generator": generator,
        **replaced,
    }
    module = ModuleType(anchor_module)
    module.AnchorGenerator = generator_class
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the generator's class has no source
        parts = anchor_module.split(".")
        for i in range(1, len(parts)):
            parent = ".".join(parts[:i])
            if parent not in sys.modules:
                patch.setitem(sys.modules, parent, ModuleType(parent))
        patch.setitem(sys.modules, anchor_module, module)
        content = {key: value for key, value in content.items() if value is not None}
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path
