"""The config under which a converted checkpoint gives the author's results."""

from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode
from detectron2.config import get_cfg as get_detectron2_cfg

from ..atomic_write import atomic_write
from ..config import get_cfg
from ..config_files import merge_config_file
from ..data.mask_rule import MaskRule
from ..shipped_configs import CONFIGS
from .reference import Architecture
from .reference_file import ReferenceCheckpoint


def reference_config(
    checkpoint: ReferenceCheckpoint, architecture: Architecture, mask_type: str = ""
) -> CfgNode:
    """Build the config, not frozen, of one of the author's checkpoints.

    mask_type is what the lesion classes are, which the file does not tell: "merge", "ggo", "both"
    or a rule. Empty stands for "merge" with one class and "both" with two. Raises a ValueError if
    the anchors or the mask type do not fit the network.
    """
    classes = architecture.lesion_classes
    mask_type = mask_type or {1: "merge", 2: "both"}.get(classes, "")
    names = MaskRule.parse(mask_type).classes
    if mask_type and len(names) != classes:
        raise ValueError(
            f"it has {classes} lesion class(es), but mask type {mask_type!r} has {len(names)}"
        )
    cfg = get_cfg()
    name = architecture.name + ("_both" if classes == 2 else "_merge") * (architecture.depth == 50)
    kind = "_heads_BN" if architecture.ranked else ""
    merge_config_file(cfg, CONFIGS / "reference" / f"{name}{kind}_reference.yaml")
    cfg.INPUT.MASK_TYPE = mask_type
    cfg.DATASETS.LESION_CLASSES = names
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = classes
    _set_levels(cfg, checkpoint, architecture)
    _set_heads(cfg, checkpoint)
    if architecture.ranked:
        cfg.MODEL.RANKED_BOXES.NUM = architecture.ranked
        cfg.MODEL.IMAGE_HEAD.FC_DIM = architecture.fc_dim
        cfg.MODEL.IMAGE_HEAD.NUM_CLASSES = architecture.image_classes
    return cfg


def _set_levels(cfg: CfgNode, checkpoint: ReferenceCheckpoint, architecture: Architecture) -> None:
    if architecture.frozen_norms:
        cfg.MODEL.RESNETS.NORM = "FrozenBN"
        cfg.MODEL.TRAINABLE = "heads"  # there is no BatchNorm to train
    if architecture.pooled_level:
        cfg.MODEL.RPN.IN_FEATURES = [*cfg.MODEL.RPN.IN_FEATURES, "p6"]
    count = len(cfg.MODEL.RPN.IN_FEATURES)
    # The author's files name more levels than a single-level network has.
    sizes, ratios = checkpoint.anchor_sizes[:count], checkpoint.anchor_ratios[:count]
    per_location = {len(s) * len(r) for s, r in zip(sizes, ratios, strict=True)}
    if len(sizes) < count or per_location != {architecture.anchors}:
        raise ValueError(
            f"its RPN has {architecture.anchors} anchors at each location of {count} level(s), but "
            f"its anchor generator has sizes {sizes} and ratios {ratios}"
        )
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [list(level) for level in sizes]
    cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = [list(level) for level in ratios]


def _set_heads(cfg: CfgNode, checkpoint: ReferenceCheckpoint) -> None:
    def outputs(name: str) -> int:
        if name not in checkpoint.weights:
            raise ValueError(f"{name} is missing; not a whole checkpoint of the author")
        return len(checkpoint.weights[name])

    cfg.MODEL.FPN.OUT_CHANNELS = outputs("backbone.fpn.layer_blocks.0.weight")
    cfg.MODEL.ROI_BOX_HEAD.FC_DIM = outputs("roi_heads.box_head.fc6.weight")
    if cfg.MODEL.MASK_ON:
        convs = [k for k in checkpoint.weights if k.startswith("roi_heads.mask_head.mask_fcn")]
        cfg.MODEL.ROI_MASK_HEAD.NUM_CONV = sum(k.endswith(".weight") for k in convs)
        cfg.MODEL.ROI_MASK_HEAD.CONV_DIM = outputs("roi_heads.mask_head.mask_fcn1.weight")


def write_config(cfg: CfgNode, path: Path) -> None:
    """Write to a YAML file what of a config differs from Detectron2's defaults."""
    changed = {**_difference(cfg, get_detectron2_cfg()), "VERSION": cfg.VERSION}
    text = yaml.safe_dump(changed, default_flow_style=None)
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _difference(cfg: CfgNode, default: CfgNode) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for key, value in cfg.items():
        if isinstance(value, CfgNode):
            changed[key] = _difference(value, default.get(key, CfgNode()))
        elif key not in default or value != default[key]:
            changed[key] = list(value) if isinstance(value, tuple) else value
    return {key: value for key, value in changed.items() if value != {}}
