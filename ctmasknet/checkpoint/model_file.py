"""A whole model in one file: safetensors, whose metadata carry its config, classes and terms.

Metadata are texts by name: those of METADATA, and the settings that checkpoints carry
(settings.py). No code can be in such a file, and the config in it is read as plain YAML.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .. import __version__
from ..atomic_write import atomic_write
from ..config_files import read_yaml
from ..data.images import what_else_it_is
from ..data.window import Window
from .settings import LESION_CLASSES, WINDOW, image_classes_in

FORMAT = "1"
_FORMAT, _SHA256 = "ctmasknet_format", "sha256"
# The version of the format and of ctmasknet; the model's name, config (YAML), window ("1500,-600":
# width, level in HU) and field of view; its licence and terms; and the hash of all this and the
# tensors.
METADATA = (
    *(_FORMAT, "ctmasknet", "name", "config", WINDOW, "field_of_view", "license", "terms"),
    *(LESION_CLASSES, _SHA256),
)
_DTYPES = (torch.float16, torch.float32, torch.int64, torch.int32, torch.uint8, torch.bool)
_EXPECTED = "expected a model file that `ctmasknet pack` has written"


def write_model_file(
    path: Path, weights: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a model file, whole or not at all.

    Args:
        path: the file, replaced if it is there.
        weights: finite tensors by name; `to_float16` of them is stored.
        metadata: those of METADATA, but for versions and hash, and settings of the model.
    """
    tensors = {name: to_float16(tensor) for name, tensor in weights.items()}
    about = {**metadata, _FORMAT: FORMAT, "ctmasknet": __version__}
    about[_SHA256] = _hash(about, tensors)
    with atomic_write(path) as partial:
        partial.write_bytes(save(tensors, about))  # `save_file` would make it the owner's alone


def to_float16(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor as files store it: filters and matrices in float16, the rest as it is.

    The rest are whole numbers, what is beyond float16, and biases and norms: these are less than
    1 % of a file, but their rounding shifts whole channels (docs/design.md).
    """
    half = tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
    return (half if half.isfinite().all() else tensor).contiguous()


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the metadata of a model file, without a look at its tensors.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a model file, a damaged one, or one of another format.
    """
    with _opened(path) as file:
        return _metadata(path, file)


def read_model_file(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return weights, floating ones in float32, and metadata; errors as `read_metadata`.

    A ValueError, too, if a byte of either has changed since the file was written.
    """
    with _opened(path) as file:
        about = _metadata(path, file)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        wrong = [name for name, tensor in tensors.items() if tensor.dtype not in _DTYPES]
        if wrong:
            raise ValueError(f"{path}: {wrong[0]} is {tensors[wrong[0]].dtype}; {_EXPECTED}")
        if _hash(about, tensors) != about[_SHA256]:
            raise ValueError(
                f"{path}: damaged: its content has not the SHA-256 that is written in it; get the "
                "file again"
            )
        # Copies: the file stays open otherwise.
        return {name: _to_float32(tensor) for name, tensor in tensors.items()}, about


def read_model_config(path: str | Path) -> CfgNode:
    """Return the config in a model file, its keys and values unchecked; errors as `read_metadata`.

    As YAML it is read plainly: Detectron2's own reader runs code in it, and opens other files.
    """
    place = f"{path}: the config in it"
    content = read_yaml(read_metadata(path)["config"], place)
    try:
        return CfgNode(content)
    except (AssertionError, ValueError) as error:
        raise ValueError(f"{place}: {error}") from None


def _to_float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float().clone() if tensor.is_floating_point() else tensor.clone()


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    try:
        with safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        reason = what_else_it_is(path) or error
        raise ValueError(f"{path}: damaged, or no model file ({reason}); {_EXPECTED}") from None


def _metadata(path: str | Path, file: Any) -> dict[str, str]:
    found = file.metadata() or {}
    if _FORMAT not in found:
        raise ValueError(f"{path}: tensors of another program, without a config; {_EXPECTED}")
    if found[_FORMAT] != FORMAT:
        raise ValueError(
            f"{path}: a model file of format {found[_FORMAT]}, written by ctmasknet "
            f"{found.get('ctmasknet', '(unknown)')}; this is {__version__}, which reads {FORMAT}"
        )
    missing = [name for name in METADATA if name not in found]
    if missing:
        raise ValueError(f"{path}: its metadata lack {', '.join(missing)}; {_EXPECTED}")
    try:
        Window.parse(found[WINDOW])
        image_classes_in(found)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: unusable metadata: {error}; {_EXPECTED}") from None
    return found


def _hash(about: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of metadata and of tensors: names, types, shapes and bytes."""
    told = {name: text for name, text in about.items() if name != _SHA256}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
