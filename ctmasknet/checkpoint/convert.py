"""Files of other projects -> files for MODEL.WEIGHTS, checked before they are written."""

from collections.abc import Mapping
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_backbone, build_model
from tabulate import tabulate
from torch import nn

from ..config import get_cfg
from ..config_files import merge_config_file
from ..data.classes import IMAGE_CLASSES
from ..shipped_configs import CONFIGS
from .loading import BACKBONE, LoadReport, load_weights, save_converted
from .reference import Architecture, convert_reference_weights, find_architecture
from .reference_config import reference_config, write_config
from .reference_file import read_reference_checkpoint
from .settings import settings_of
from .tensor_files import find_state_dict, read_tensors
from .torchvision_resnet import convert_torchvision_backbone


def convert_reference_checkpoint(
    source: Path, target: Path, mask_type: str = "", frozen_eps: float = 1e-5
) -> tuple[str, LoadReport]:
    """Convert one of the author's files; return what it is, and what of it our model has taken.

    The config is written beside the .pth `target`, as .yaml. mask_type is that of
    `reference_config`, frozen_eps that of `convert_reference_weights`. Raises a FileNotFoundError
    or ValueError if `source` cannot be used, and writes nothing.
    """
    _check_target(source, target)
    checkpoint = read_reference_checkpoint(source)
    try:
        architecture = find_architecture(checkpoint.weights)
        weights, ignored = convert_reference_weights(checkpoint.weights, architecture, frozen_eps)
        cfg = reference_config(checkpoint, architecture, mask_type)
        _check_whole(weights, _built(cfg, "meta"))  # without memory, whatever the file's shapes say
        model = _built(cfg, "cpu")
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    except (IndexError, TypeError):
        raise ValueError(f"{source}: a tensor has fewer dimensions than the author's") from None
    except (ArithmeticError, AssertionError, RuntimeError):
        raise ValueError(f"{source}: its shapes are of none of the author's networks") from None
    cfg.MODEL.WEIGHTS = str(target.resolve())
    images = IMAGE_CLASSES if architecture.image_classes == len(IMAGE_CLASSES) else ()
    save_converted(target, weights, settings_of(model, cfg.DATASETS.LESION_CLASSES, images))
    report = load_weights(model, target)
    write_config(cfg, target.with_suffix(".yaml"))
    description = "\n".join(filter(None, [_describe(architecture, cfg), checkpoint.note]))
    return description, LoadReport(
        report.loaded, report.converted, {**report.ignored, **ignored}, report.missing
    )


def convert_torchvision_checkpoint(source: Path, target: Path) -> str:
    """Convert a torchvision ResNet; return a table of what it fills of lesion models.

    `source` holds a state dict (see `find_state_dict`); `target` is a .pth. Raises a
    FileNotFoundError or ValueError if `source` cannot be used, and writes nothing.
    """
    _check_target(source, target)
    content, note = find_state_dict(source, read_tensors(source))
    try:
        depth, weights, ignored = convert_torchvision_backbone(content)
        configs = sorted((CONFIGS / "lesion").glob(f"R{depth}*.yaml"))
        rows = [_backbone_row(config, weights) for config in configs]
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    save_converted(target, weights)
    text = f"{source}: ResNet-{depth}, {len(weights)} tensors of convolutions and norms converted"
    if ignored:
        text += f", {len(ignored)} ignored ({', '.join(sorted(set(ignored.values())))})"
    if note:
        text += f"\n{note}"
    return text + "\n\n" + tabulate(rows, ["lesion config", "its backbone's tensors filled"])


def _built(cfg: CfgNode, device: str) -> nn.Module:
    cfg = cfg.clone()
    cfg.MODEL.DEVICE = device
    with torch.device(device):
        return build_model(cfg)


def _check_whole(weights: Mapping[str, torch.Tensor], part: nn.Module, prefix: str = "") -> int:
    """Check that converted weights fill a model, or its part called `prefix`; return how many."""
    own = part.state_dict(prefix=prefix)
    for name, tensor in own.items():
        if name not in weights:
            raise ValueError(f"not a whole network: nothing for our {name}")
        if weights[name].shape != tensor.shape:
            raise ValueError(
                f"what becomes our {name} has the shape {tuple(weights[name].shape)}, but this "
                f"network needs {tuple(tensor.shape)}"
            )
    return len(own)


def _backbone_row(config: Path, weights: Mapping[str, torch.Tensor]) -> list[str]:
    cfg = get_cfg()
    merge_config_file(cfg, config)
    with torch.device("meta"):  # shapes alone
        count = _check_whole(weights, build_backbone(cfg).bottom_up, BACKBONE)
    return [config.stem, f"{count} of {count}"]


def _check_target(source: Path, target: Path) -> None:
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file")
    if target.suffix != ".pth":
        raise ValueError(f"{target}: the output must end in .pth")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target.parent}: no such folder")
    if target.exists() and source.samefile(target):
        raise ValueError(f"{target}: the output must be another file than the input")


def _describe(architecture: Architecture, cfg: CfgNode) -> str:
    kind = (
        f"CT-Mask-Net (N = {architecture.ranked}, {architecture.fc_dim} features, "
        f"{architecture.image_classes} image classes)"
        if architecture.ranked
        else "lesion model"
    )
    frozen = ", frozen norms" if architecture.frozen_norms else ""
    pooled = ", pooled RPN level" if architecture.pooled_level else ""
    return (
        f"{architecture.name} {kind}, {architecture.lesion_classes} lesion class(es) "
        f"read as {cfg.INPUT.MASK_TYPE or 'they are'}{frozen}{pooled}"
    )
