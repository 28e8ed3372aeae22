"""Load a checkpoint and say exactly what it filled."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tabulate import tabulate
from torch import nn

from ..atomic_write import atomic_write
from ..modeling import CTMaskNet, ImageModel, RankedBoxHead
from ..shipped_models import is_model_file
from . import settings
from .model_file import read_model_file
from .tensor_files import find_state_dict, read_tensors

logger = logging.getLogger(__name__)

NEW_IN_CT_MASK_NET = ("image_head",)
NEW_IN_IMAGE_MODEL = ("classifier",)
NEW_IN_LESION_MODEL = ("proposal_generator", "roi_heads", "sem_seg_head", "backbone.fpn_")
BACKBONE = "backbone.bottom_up."
_COLUMNS = ("loaded", "converted", "ignored", "missing")


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file, on the CPU, and its settings (see settings.py)."""

    weights: dict[str, torch.Tensor]
    converted: frozenset[str] = frozenset()  # names that a conversion tool wrote
    settings: Mapping[str, str] = field(default_factory=dict)
    note: str = ""  # how the file wraps the tensors, if it does


@dataclass(frozen=True)
class LoadReport:
    """What became of each tensor; printed as one table.

    Attributes:
        loaded: names filled from the file.
        converted: names filled from the file, which got them from another project's layout.
        ignored: names in the file only -> why.
        missing: names left as initialised.
    """

    loaded: tuple[str, ...] = ()
    converted: tuple[str, ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = {column: Counter(map(_part, getattr(self, column))) for column in _COLUMNS}
        parts = list(dict.fromkeys(part for column in counts.values() for part in column))
        rows = [
            [part, *(counts[column][part] for column in _COLUMNS), self._note(part)]
            for part in parts
        ]
        rows.append(["total", *(sum(counts[column].values()) for column in _COLUMNS), ""])
        return tabulate(rows, ["part", *_COLUMNS, "why"])

    def _note(self, part: str) -> str:
        notes = {why for name, why in self.ignored.items() if _part(name) == part}
        if any(_part(name) == part for name in self.missing):
            notes.add("missing: starts as initialised")
        return "; ".join(sorted(notes))


def _part(name: str) -> str:
    deep = name.startswith(("roi_heads", "backbone"))
    part = ".".join(name.split(".")[: 2 if deep else 1])
    return "backbone.fpn" if part.startswith("backbone.fpn") else part


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint or a model file without running any code from it.

    Args:
        path: a .pth saved by Detectron2's checkpointer, or of a state dict (tensor_files.py); or
            a .safetensors, a whole model (model_file.py).

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint, a damaged one, or it holds NaN or infinity.
    """
    checkpoint = _read_model(path) if is_model_file(path) else _read_pth(path)
    for name, tensor in checkpoint.weights.items():
        if tensor.is_complex():
            raise ValueError(f"{path}: {name} holds complex numbers; no network of ours does")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{path}: {name} holds NaN or infinity; training has diverged")
    return checkpoint


def _read_model(path: str | Path) -> Checkpoint:
    weights, metadata = read_model_file(path)
    return Checkpoint(weights, settings=metadata)


def _read_pth(path: str | Path) -> Checkpoint:
    content = read_tensors(path)
    weights, note = find_state_dict(path, content)
    if not weights:
        raise ValueError(f"{path}: holds no state dict but an empty one")
    converted, found = content.get("converted"), content.get(settings.KEY)
    # What other programs call so is of another kind.
    ours = isinstance(found, dict) and all(isinstance(text, str) for text in found.values())
    listed = isinstance(converted, list) and all(isinstance(name, str) for name in converted)
    if ours:
        try:
            settings.image_classes_in(found)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    names = frozenset(converted if listed else ())
    return Checkpoint(weights, names, found if ours else {}, note)


def stored_lesion_classes(path: str | Path) -> tuple[str, ...]:
    """Return the names of the lesion classes of a checkpoint.

    () if it does not tell, is not there or is none; loading it says so.
    """
    return settings.lesion_classes_in(_settings(path))


def stored_image_classes(path: str | Path) -> tuple[str, ...]:
    """Return the names of the image classes of a checkpoint; () as `stored_lesion_classes`."""
    return settings.image_classes_in(_settings(path))


def _settings(path: str | Path) -> Mapping[str, str]:
    try:
        return read_checkpoint(path).settings
    except (FileNotFoundError, ValueError):
        return {}


def save_converted(
    path: Path, weights: Mapping[str, torch.Tensor], made_with: Mapping[str, str] | None = None
) -> None:
    """Write our names -> tensors from another layout as a checkpoint for MODEL.WEIGHTS.

    `made_with` are the settings of the model they are for (see settings.py).
    """
    content = {"model": dict(weights), "converted": [*weights], settings.KEY: {**(made_with or {})}}
    with atomic_write(path) as partial:
        torch.save(content, partial)


def new_in(model: nn.Module) -> tuple[str, ...]:
    """Return what a training may start without, of the parts that MODEL.WEIGHTS fills."""
    if isinstance(model, CTMaskNet):
        return NEW_IN_CT_MASK_NET
    return NEW_IN_IMAGE_MODEL if isinstance(model, ImageModel) else NEW_IN_LESION_MODEL


def load_weights(
    model: nn.Module,
    path: str | Path,
    new: Sequence[str] = (),
    lesion_classes: Sequence[str] = (),
    image_classes: Sequence[str] = (),
) -> LoadReport:
    """Fill a model from a checkpoint, if everything fits.

    Args:
        model: a lesion model, CT-Mask-Net or baseline.
        path: a checkpoint or a model file, see `read_checkpoint`.
        new: prefixes of parameters that the checkpoint may lack; they stay as initialised.
        lesion_classes: names of the model's lesion classes, compared with those in the checkpoint;
            a lesion model with `new` may start from other ones. () compares nothing.
        image_classes: names of its image classes, likewise; a CT-Mask-Net may start from others.

    Raises:
        FileNotFoundError, ValueError: as `read_checkpoint`; ValueError when shapes, settings or
            classes differ, a tensor outside `new` is missing, or the file has parts that this
            model does not know.
    """
    checkpoint = read_checkpoint(path)
    weights, own = checkpoint.weights, model.state_dict()
    if "layer1.0.conv1.weight" in weights:
        raise ValueError(
            f"{path}: a ResNet of torchvision; convert it with `ctmasknet prepare weights` first"
        )
    settings.check_settings(path, model, checkpoint.settings)
    _check_numbers(path, model, weights, new)
    stored = settings.lesion_classes_in(checkpoint.settings)
    retrained = bool(new) and not isinstance(model, CTMaskNet)
    settings.check_lesion_classes(path, stored, lesion_classes, retrained)
    stored = settings.image_classes_in(checkpoint.settings)
    settings.check_image_classes(path, stored, image_classes, retrained=bool(new))
    mismatched = [
        f"{k} (file {tuple(weights[k].shape)}, model {tuple(own[k].shape)})"
        for k in own
        if k in weights and own[k].shape != weights[k].shape
    ]
    missing = [k for k in own if k not in weights]
    ignored = {k: _why_ignored(k, own, weights) for k in weights if k not in own}
    refused = [k for k in missing if not k.startswith(tuple(new))]
    foreign = [k for k, why in ignored.items() if not why]
    for names, problem in (
        (mismatched, "another shape"),
        (refused, "no value"),
        (foreign, "a tensor this model does not have"),
    ):
        if names:
            raise ValueError(
                f"{path}: a checkpoint of another architecture: {problem} for {names[0]} and "
                f"{len(names) - 1} more; use the config it was trained with"
            )
    if checkpoint.note:
        logger.warning("%s", checkpoint.note)
    model.load_state_dict({k: v for k, v in weights.items() if k in own}, strict=False)
    found = [k for k in own if k in weights]
    return LoadReport(
        loaded=tuple(k for k in found if k not in checkpoint.converted),
        converted=tuple(k for k in found if k in checkpoint.converted),
        ignored=ignored,
        missing=tuple(missing),
    )


def _why_ignored(name: str, own: Iterable[str], weights: Iterable[str]) -> str:
    """Return why a tensor may be left out, "" if it may not."""
    if name.startswith("roi_heads.mask_head"):
        return "ignored: this model has no mask head"
    if name.startswith("sem_seg_head") and any(k.startswith("image_head") for k in own):
        return "ignored: a CT-Mask-Net has no semantic branch"
    stage = name.removeprefix(BACKBONE).split(".")[0]
    whole_stage = not any(k.startswith(f"{BACKBONE}{stage}.") for k in own)
    if whole_stage and all(k.startswith(BACKBONE) for k in weights):
        return "ignored: stages after the cut"
    return ""


_CLASSES = "roi_heads.box_predictor.cls_score.bias"  # one more than classes: the background
_ROWS = "image_head.fc1.weight"  # of module S, which reads rows of several numbers
# Numbers that configs and checkpoints both state: tensor, axis, unit, key.
_NUMBERS = (
    (_CLASSES, 0, "lesion class(es)", "ROI_HEADS.NUM_CLASSES"),
    ("proposal_generator.rpn_head.objectness_logits.bias", 0, "anchors", "ANCHOR_GENERATOR"),
    (_ROWS, 1, "ranked boxes (N)", "RANKED_BOXES.NUM"),
    (_ROWS, 0, "features of the image head", "IMAGE_HEAD.FC_DIM"),
    ("image_head.classifier.bias", 0, "image classes", "IMAGE_HEAD.NUM_CLASSES"),
    ("classifier.bias", 0, "image classes", "IMAGE_HEAD.NUM_CLASSES"),
)


def _check_numbers(
    path: str | Path, model: nn.Module, weights: Mapping[str, torch.Tensor], new: Sequence[str]
) -> None:
    own = model.state_dict()
    for name, axis, unit, key in _NUMBERS:
        if name not in own or name not in weights:
            continue
        extra, size, head = int(name == _CLASSES), 1, getattr(model, "image_head", None)
        if name == _ROWS and axis == 1 and isinstance(head, RankedBoxHead):
            size = head.row_size
        if weights[name].ndim != own[name].ndim:
            continue  # which the shapes tell
        found, rest = divmod(weights[name].shape[axis] - extra, size)
        expected = (own[name].shape[axis] - extra) // size
        if found != expected and not rest:
            advice = "use the config it was trained with"
            if name == _CLASSES and "roi_heads" in new:
                advice = (
                    "start from a backbone alone (`ctmasknet prepare weights`) or from a lesion "
                    f"model of {expected}, or read the data as {found} (INPUT.MASK_TYPE)"
                )
            raise ValueError(
                f"{path}: the checkpoint has {found} {unit}, the config {expected} (MODEL.{key}); "
                f"{advice}"
            )
