"""Load a checkpoint and say exactly what it filled."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

# Parts of a lesion checkpoint that a model may lack: the papers' CT-Mask-Net has no mask head.
OPTIONAL_PARTS = ("roi_heads.mask_head",)
NEW_IN_CT_MASK_NET = ("image_head",)
NEW_IN_LESION_MODEL = ("proposal_generator", "roi_heads", "backbone.fpn_")


@dataclass(frozen=True)
class LoadReport:
    """Names of tensors: filled from the file, left as initialised, and in the file only."""

    loaded: tuple[str, ...]
    new: tuple[str, ...]
    ignored: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{len(self.loaded)} tensors loaded, {len(self.new)} new"
        if self.new:
            text += f" ({', '.join(sorted({_part(name) for name in self.new}))})"
        if self.ignored:
            parts = ", ".join(sorted({_part(name) for name in self.ignored}))
            text += f", {len(self.ignored)} ignored ({parts}: not part of this model)"
        return text


def _part(name: str) -> str:
    return ".".join(name.split(".")[: 2 if name.startswith(("roi_heads", "backbone")) else 1])


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a .pth checkpoint without running any code from it.

    Args:
        path: a file saved by Detectron2's checkpointer, or a bare state dict.

    Returns:
        Name -> tensor on the CPU.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint, or it holds NaN or infinity.
    """
    if not str(path):
        raise FileNotFoundError("MODEL.WEIGHTS is empty; give a checkpoint (.pth)")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint (MODEL.WEIGHTS)")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError):
        # PyTorch's own text is left out: it advises to run the code in the file.
        raise ValueError(
            f"{path}: not a checkpoint of tensors alone; expected a .pth file written by "
            "tools/train_net.py"
        ) from None
    weights = content.get("model", content) if isinstance(content, dict) else None
    if (
        not isinstance(weights, dict)
        or not weights
        or not all(isinstance(v, torch.Tensor) for v in weights.values())
    ):
        raise ValueError(f"{path}: holds no state dict; expected one, bare or under 'model'")
    damaged = [k for k, v in weights.items() if not torch.isfinite(v).all()]
    if damaged:
        raise ValueError(f"{path}: {damaged[0]} holds NaN or infinity; training has diverged")
    return weights


def load_weights(model: nn.Module, path: str | Path, new: Sequence[str] = ()) -> LoadReport:
    """Fill a model from a checkpoint, all of it or nothing.

    Args:
        model: the model, changed only when everything fits.
        path: a .pth checkpoint.
        new: prefixes of parameters that the checkpoint may lack; they stay as initialised.

    Returns:
        What was loaded.

    Raises:
        FileNotFoundError, ValueError: as `read_weights`; ValueError when shapes differ, a tensor
            outside `new` is missing, or the file has parts that this model does not know.
    """
    weights = read_weights(path)
    own = model.state_dict()
    mismatched = [k for k in own if k in weights and own[k].shape != weights[k].shape]
    missing = [k for k in own if k not in weights]
    ignored = [k for k in weights if k not in own]
    refused = [k for k in missing if not k.startswith(tuple(new))]
    foreign = [k for k in ignored if not k.startswith(OPTIONAL_PARTS)]
    for names, problem in (
        (mismatched, "another shape"),
        (refused, "no value"),
        (foreign, "a tensor this model does not have"),
    ):
        if names:
            raise ValueError(
                f"{path}: a checkpoint of another architecture: {problem} for {names[0]}"
                f"{_shapes(names[0], own, weights)} and {len(names) - 1} more; "
                "use the config it was trained with"
            )
    model.load_state_dict({k: v for k, v in weights.items() if k in own}, strict=False)
    return LoadReport(tuple(k for k in own if k in weights), tuple(missing), tuple(ignored))


def _shapes(name: str, own: dict, weights: dict) -> str:
    if name not in own or name not in weights:
        return ""
    return f" (file {tuple(weights[name].shape)}, model {tuple(own[name].shape)})"
