"""Checkpoints, model files and configs: whole files, and their readers."""

import io
import json
import math
import sys
import tempfile
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
import yaml
from detectron2.modeling import build_model

from ctmasknet.checkpoint import load_weights
from ctmasknet.checkpoint.convert import (
    convert_reference_checkpoint,
    convert_torchvision_checkpoint,
)
from ctmasknet.checkpoint.model_file import write_model_file
from ctmasknet.engine import load_config
from ctmasknet.inference.model_spec import find_model

from .seeds import Seed


@cache
def _model(config: str) -> Any:
    """A model without values, which take no memory."""
    with torch.device("meta"):
        return build_model(config_of(config))


@cache
def config_of(name: str) -> Any:
    return load_config(name, ["MODEL.DEVICE", "meta"], datasets=False)


_WEIGHTS = {
    "proposal_generator.rpn_head.objectness_logits.bias": torch.zeros(30),
    "roi_heads.box_predictor.cls_score.bias": torch.zeros(2),
    "image_head.fc1.weight": torch.zeros(8, 320),
    "image_head.classifier.bias": torch.zeros(3),
    "backbone.bottom_up.stem.conv1.weight": torch.randn(2, 3, 2, 2).half(),
}


@cache
def _tensors() -> tuple[torch.Tensor, ...]:
    """Tensors that trouble readers; all are of few bytes."""
    return (
        *(torch.zeros(()), torch.zeros(0), torch.zeros(2**20, 0), torch.zeros(2**31, 0)),
        *(
            torch.zeros(1).expand(2**34),
            torch.zeros(3, dtype=torch.complex64),
            torch.tensor(math.nan),
        ),
        *(
            torch.zeros(2, dtype=torch.bool),
            torch.eye(2).to_sparse(),
            torch.zeros(1, 1, 1, 1, 1, 1),
        ),
        *(
            torch.quantize_per_tensor(torch.zeros(2), 1, 0, torch.qint8),
            torch.zeros(2, device="meta"),
        ),
        *(torch.nn.Parameter(torch.zeros(2)), torch.zeros(4)[::2], torch.zeros(2, 2).t()),
    )


def _saved(content: Any, legacy: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def checkpoints() -> list[Seed]:
    whole = {
        "model": _WEIGHTS,
        "settings": {"MODEL.RANKED_BOXES.ENCODING": "delta", "DATASETS.LESION_CLASSES": "GGO,C"}
        | {"DATASETS.IMAGE_CLASSES": json.dumps(["a", "b", "c"])},
        "converted": [*_WEIGHTS],
        "iteration": 3,
    }
    contents = (whole, {f"module.{k}": v for k, v in _WEIGHTS.items()})
    return [
        Seed("a.pth", content, partial(_saved, legacy=legacy), values=_tensors())
        for content in contents
        for legacy in (False, True)
    ]


def checkpoint(path: Path) -> Any:
    for config in ("quick/lesion_R18_T1", "quick/ctmasknet_R18_T1"):
        try:
            load_weights(_model(config), path, new=("image_head", "roi_heads"))
        except ValueError as error:
            if "another architecture" not in str(error) or path.name not in str(error):
                raise
    return "of another architecture"


class AnchorGenerator:
    """Written in place of the author's, as if it were in his module."""

    __module__ = "models.mask_net.rpn"

    def __init__(self, attributes: dict):
        vars(self).update({str(key): value for key, value in attributes.items()})


def _saved_reference(content: dict, legacy: bool) -> bytes:
    """Save in the author's way; in the content the anchor generator is a dict."""
    module = ModuleType(AnchorGenerator.__module__)
    module.AnchorGenerator = AnchorGenerator  # type: ignore[attr-defined]
    packages = {name: ModuleType(name) for name in ("models", "models.mask_net")}
    with mock.patch.dict(sys.modules, {**packages, module.__name__: module}):
        made = {
            key: AnchorGenerator(value) if isinstance(value, dict) and "sizes" in value else value
            for key, value in content.items()
        }
        return _saved(made, legacy)


_REFERENCE = (
    *(f"backbone.body.{x}.weight" for x in ("conv1", "bn1", "layer1.0.conv1", "layer1.1.conv1")),
    *(f"backbone.body.layer{x}.weight" for x in ("2.0.conv1", "2.1.bn2", "3.0.conv1", "3.1.bn2")),
    *("backbone.body.bn1.num_batches_tracked", "backbone.fpn.inner_blocks.0.weight"),
    *("backbone.fpn.layer_blocks.0.weight", "roi_heads.mask_head.mask_fcn1.weight"),
    *(f"rpn.head.{x}.weight" for x in ("conv", "cls_logits", "bbox_pred")),
    *(f"roi_heads.box_{x}.weight" for x in ("head.fc6", "predictor.cls_score")),
)


def references() -> list[Seed]:
    """Files in the author's layout, of tensors with few values."""
    weights = {name: torch.zeros(2, 3) for name in _REFERENCE}
    module_s = {f"s2new.fc_scores{x}.weight": torch.zeros(3, 80) for x in ("", "_2", "_img")}
    generator = {"sizes": [[2.0]], "aspect_ratios": [[0.5, 1.0]], "training": True}
    return [
        Seed(
            "a.pth",
            {"epoch": "3", "model_weights": {**weights, **more}, "anchor_generator": generator},
            partial(_saved_reference, legacy=legacy),
            values=_tensors(),
        )
        for more in ({}, module_s)
        for legacy in (False, True)
    ]


def reference(path: Path) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        convert_reference_checkpoint(path, Path(folder, "out.pth"))
    return "whole"


def backbones() -> list[Seed]:
    names = [f"layer{k}.{n}.conv1.weight" for k in (1, 2, 3, 4) for n in (0, 1)]
    weights = {name: torch.zeros(2, 3) for name in ("conv1.weight", "fc.bias", *names)}
    return [
        Seed("a.pth", {"state_dict": weights}, partial(_saved, legacy=legacy), values=_tensors())
        for legacy in (False, True)
    ]


def torchvision(path: Path) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return convert_torchvision_checkpoint(path, Path(folder, "out.pth"))


def model_files() -> list[Seed]:
    """Whole models in a file; what is changed in them is told by their hashes."""
    metadata = {
        **{"name": "tiny", "window": "1500,-600", "field_of_view": "image", "license": "none"},
        **{"terms": "none", "DATASETS.LESION_CLASSES": "GGO,C", "DATASETS.IMAGE_CLASSES": "[]"},
        "config": yaml.safe_dump({k: v for k, v in _CONFIG.items() if k != "_BASE_"}),
    }

    def dump(content: dict) -> bytes:
        weights, about = (x if isinstance(x, dict) else {} for x in map(content.get, ("w", "a")))
        tensors = {str(k): x for k, x in weights.items() if isinstance(x, torch.Tensor)}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "a.safetensors")
            write_model_file(path, tensors, {str(k): str(x) for k, x in about.items()})
            return path.read_bytes()

    return [Seed("a.safetensors", {"w": _WEIGHTS, "a": metadata}, dump, values=_tensors()[:4])]


def model_file(path: Path) -> Any:
    spec = find_model(path)
    return spec.cfg.dump(), spec.window, spec.lesion_classes, spec.image_classes


_CONFIG = {
    "_BASE_": "base.yaml",
    "MODEL": {"META_ARCHITECTURE": "LesionRCNN", "ROI_HEADS": {"NUM_CLASSES": 2}, "NAME": "x"},
    "SOLVER": {"BASE_LR": 0.01, "STEPS": [10, 20], "MAX_ITER": 30},
    "DATASETS": {"LESION_CLASSES": ["GGO", "C"], "TRAIN": ["a.json"]},
    "INPUT": {"MASK_TYPE": "both", "WINDOW": [1500, -600], "MIN_SIZE_TRAIN": [64]},
    "VERSION": 2,
}


def configs() -> list[Seed]:
    def dump(content: Any) -> bytes:
        return yaml.safe_dump(content).encode()

    base = {"base.yaml": b"SEED: 3\n"}
    return [Seed(name, _CONFIG, dump, base) for name in ("a.yaml", "config.yaml")]


def config_file(path: Path) -> Any:
    return load_config(str(path), datasets=False).dump()
