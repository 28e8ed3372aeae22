"""Tensors in .pth files, and the state dict among them, however other programs wrap it."""

import re
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..data.images import what_else_it_is
from ..shipped_models import names_in_words
from .storages import check_storages

# Detectron2 writes the first, PyTorch's examples and Lightning the others.
_KEYS = ("model", "state_dict", "model_state_dict")
_OTHERS = "of tensors alone, or a damaged one"
# What DataParallel, torch.compile and Lightning's modules put before each name.
_PREFIX = re.compile(r"(?:(?:module|_orig_mod|model)\.)*")


class StateDict(NamedTuple):
    """A model's tensors by name, and a line on what was taken off to get them, "" if nothing."""

    weights: dict[str, torch.Tensor]
    note: str = ""


def read_tensors(path: str | Path) -> Any:
    """Read tensors and plain containers onto the CPU, without running any code of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of tensors alone, or not all of them is in it.
    """
    if not str(path):
        raise FileNotFoundError("MODEL.WEIGHTS is empty; give a checkpoint (.pth)")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such checkpoint (MODEL.WEIGHTS); train the model it comes from first, "
            f"give another path, or a model in the package ({names_in_words()})"
        )
    try:
        check_storages(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the protocol of pickles that it then refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can fail anywhere
        if str(error).startswith(f"{path}: ") or getattr(error, "filename", None):
            raise
        # PyTorch's own text advises to run the code in the file.
        other = what_else_it_is(path)
        raise ValueError(
            f"{path}: not a checkpoint {f'but {other}' if other else _OTHERS}; expected "
            "a .pth file written by a training or `ctmasknet prepare weights`"
        ) from None


def find_state_dict(path: str | Path, content: Any) -> StateDict:
    """Find the state dict in what `read_tensors` returned, bare or under one of the usual keys.

    What wrappers put before each of its names, such as "module.", is left out. A ValueError names
    `path` if there is no state dict, there are several, or only some names have such a prefix.
    """
    found = {}
    if isinstance(content, Mapping):
        found = {key: content[key] for key in _KEYS if _is_state_dict(content.get(key))}
    if len(found) > 1:
        raise ValueError(
            f"{path}: holds weights under {' and '.join(map(repr, found))}, and which are meant is "
            "not known; save one of them alone"
        )
    if not found and not _is_state_dict(content):
        keys = ", ".join(map(repr, _KEYS))
        raise ValueError(f"{path}: holds no state dict; expected one, bare or under {keys}")
    ((key, weights),) = found.items() or [("", content)]
    under = f"the weights are those under '{key}'" if key not in ("", _KEYS[0]) else ""
    weights, without = without_prefix(path, weights)
    parts = [part for part in (under, without) if part]
    return StateDict(weights, f"{path}: {' and '.join(parts)}" if parts else "")


def without_prefix(path: str | Path, weights: Mapping[str, torch.Tensor]) -> StateDict:
    """Leave out what wrappers put before each name; the note has no path. Errors as above."""
    counts = Counter(_PREFIX.match(name)[0] for name in weights)  # type: ignore[index]
    if len(counts) > 1:
        found = ", ".join(f"{count} with '{prefix}'" for prefix, count in counts.items() if prefix)
        raise ValueError(
            f"{path}: of its {len(weights)} names of tensors {found} before them, "
            f"{counts['']} without; expected all alike: two models in one file, or a damaged one"
        )
    prefix = next(iter(counts), "")
    if not prefix:
        return StateDict(dict(weights))
    short = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return StateDict(short, f"'{prefix}' before each name of a tensor was left out")


def _is_state_dict(content: Any) -> bool:
    """Tell whether it is a dict of tensors by name."""
    return isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(x, torch.Tensor) for name, x in content.items()
    )
