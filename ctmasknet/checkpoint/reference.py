"""The author's lesion models and CT-Mask-Nets -> ours.

Source: the layout of the checkpoints of COVID-CT-Mask-Net (Ter-Sarkisov 2020).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from .loading import BACKBONE
from .torchvision_resnet import detectron2_name, resnet_depth

_BODY = "backbone.body."
_MASK_HEAD = ("roi_heads.mask_head", "roi_heads.mask_pred")
_CUTS = {2: "_T2", 3: "_T1", 4: ""}  # stages kept -> how the papers call it
_DETECTRON2_EPS = 1e-5  # of its frozen norms


@dataclass(frozen=True)
class Architecture:
    """What the tensors of a checkpoint tell about its network."""

    depth: int  # 18, 34 or 50
    stages: int  # how many of the ResNet's four are kept
    frozen_norms: bool  # R50 lesion models of the author's code before November 2020
    pooled_level: bool  # a fifth one of the RPN, in R50 of that age, lesion models and classifiers
    lesion_classes: int
    anchors: int  # per location
    ranked: int = 0  # N; 0 for a lesion model, as the next two
    fc_dim: int = 0  # features of module S
    image_classes: int = 0

    @property
    def name(self) -> str:
        """The backbone's name in the papers: "R18_T1", "R50", ..."""
        return f"R{self.depth}{_CUTS[self.stages]}"

    @property
    def levels(self) -> tuple[int, ...]:
        """FPN levels that RoIs are pooled from, as k of p<k>."""
        return (2, 3, 4, 5) if self.depth == 50 else (self.stages + 1,)


def find_architecture(weights: Mapping[str, torch.Tensor]) -> Architecture:
    """Read the architecture from the author's names and shapes of tensors.

    A ValueError says what is missing or unknown if it is none of the author's networks.
    """
    body = [name.removeprefix(_BODY) for name in weights if name.startswith(_BODY)]
    if not body:
        raise ValueError(f"no tensor is called {_BODY}...; not a checkpoint of the author")
    depth, stages = resnet_depth(body)
    if stages not in _CUTS or (depth == 50 and stages < 4):
        raise ValueError(f"a ResNet-{depth} with {stages} stages is none of the papers' models")

    def shape(name: str) -> tuple[int, ...]:
        if name not in weights:
            raise ValueError(f"{name} is missing; not a whole checkpoint of the author")
        return tuple(weights[name].shape)

    module_s = {}
    if any(name.startswith("s2new.") for name in weights):
        fc_dim, inputs = shape("s2new.fc_scores.weight")
        if inputs % 5:
            raise ValueError(f"s2new.fc_scores reads {inputs} numbers, not rows of 5")
        module_s = {
            "ranked": inputs // 5,
            "fc_dim": fc_dim,
            "image_classes": shape("s2new.fc_scores_img.weight")[0],
        }
    frozen = not any(name.endswith(".num_batches_tracked") for name in weights)
    # No tensor is of the pooled level. Classifiers of its age have ordinary norms, but a mask head.
    old_classifier = bool(module_s) and any(name.startswith(_MASK_HEAD) for name in weights)
    return Architecture(
        depth=depth,
        stages=stages,
        frozen_norms=frozen,
        pooled_level=depth == 50 and (frozen or old_classifier),
        lesion_classes=shape("roi_heads.box_predictor.cls_score.weight")[0] - 1,
        anchors=shape("rpn.head.cls_logits.weight")[0],
        **module_s,
    )


def convert_reference_weights(
    weights: Mapping[str, torch.Tensor], architecture: Architecture, frozen_eps: float = 1e-5
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Rename the author's tensors and put the background last.

    Returns our names -> tensors, and the author's names left out -> why. frozen_eps is what frozen
    norms add to the variance: 1e-5 in Detectron2 and current torchvision, 0 in torchvision before
    0.9. Weights are scaled to give the same output with 1e-5. A ValueError: a name that is not the
    author's, a negative frozen_eps, or another than 1e-5 for ordinary norms.
    """
    if frozen_eps < 0:
        raise ValueError(f"the epsilon of frozen norms is {frozen_eps}, but cannot be negative")
    if frozen_eps != _DETECTRON2_EPS and not architecture.frozen_norms:
        raise ValueError("it has ordinary norms, so that an epsilon of frozen ones means nothing")
    converted, ignored = {}, {}
    for name, tensor in weights.items():
        if architecture.ranked and name.startswith(_MASK_HEAD):
            ignored[name] = "CT-Mask-Net has no mask head"
            continue
        ours, values = _convert(name, tensor, architecture)
        if ours in converted:
            raise ValueError(f"{name} is there twice")
        converted[ours] = values
    if frozen_eps != _DETECTRON2_EPS:
        _rescale_frozen_norms(converted, frozen_eps)
    return converted, ignored


_HEADS = {
    "rpn.head.conv": "proposal_generator.rpn_head.conv",
    "rpn.head.cls_logits": "proposal_generator.rpn_head.objectness_logits",
    "rpn.head.bbox_pred": "proposal_generator.rpn_head.anchor_deltas",
    "roi_heads.box_head.fc6": "roi_heads.box_head.fc1",
    "roi_heads.box_head.fc7": "roi_heads.box_head.fc2",
    "roi_heads.box_predictor.cls_score": "roi_heads.box_predictor.cls_score",
    "roi_heads.box_predictor.bbox_pred": "roi_heads.box_predictor.bbox_pred",
    "roi_heads.mask_predictor.conv5_mask": "roi_heads.mask_head.deconv",
    "roi_heads.mask_predictor.mask_fcn_logits": "roi_heads.mask_head.predictor",
    "s2new.fc_scores": "image_head.fc1",
    "s2new.fc_scores_2": "image_head.fc2",
    "s2new.fc_scores_img": "image_head.classifier",
}
# The author's background is the first class; ours is the last one, or there is none.
_REARRANGED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "roi_heads.box_predictor.cls_score": lambda x: torch.cat([x[1:], x[:1]]),
    "roi_heads.box_predictor.bbox_pred": lambda x: x[4:].clone(),
    "roi_heads.mask_head.predictor": lambda x: x[1:].clone(),
}
_FPN = {"inner_blocks": "fpn_lateral", "layer_blocks": "fpn_output"}


def _convert(
    name: str, tensor: torch.Tensor, architecture: Architecture
) -> tuple[str, torch.Tensor]:
    module, _, parameter = name.rpartition(".")
    if name.startswith(_BODY):
        ours = detectron2_name(name.removeprefix(_BODY))
        if ours:
            return BACKBONE + ours, tensor
    elif match := re.fullmatch(r"backbone\.fpn\.(inner_blocks|layer_blocks)\.(\d)", module):
        if int(match[2]) < len(architecture.levels):
            level = architecture.levels[int(match[2])]
            return f"backbone.{_FPN[match[1]]}{level}.{parameter}", tensor
    elif re.fullmatch(r"roi_heads\.mask_head\.mask_fcn\d", module):
        return name, tensor
    elif module in _HEADS:
        ours = _HEADS[module]
        tensor = _REARRANGED[ours](tensor) if ours in _REARRANGED else tensor
        return f"{ours}.{parameter}", tensor
    raise ValueError(f"{name} is no tensor of the author's {architecture.name}")


def _rescale_frozen_norms(weights: dict[str, torch.Tensor], eps: float) -> None:
    for name, variance in weights.items():
        if name.endswith(".norm.running_var"):
            weight = name.replace("running_var", "weight")
            ratio = (variance.double() + _DETECTRON2_EPS) / (variance.double() + eps)
            scaled = weights[weight] * ratio.sqrt()
            if not torch.isfinite(scaled).all():
                raise ValueError(f"{name} has a zero: give an epsilon above 0")
            weights[weight] = scaled.to(variance.dtype)
