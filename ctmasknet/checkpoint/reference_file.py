"""Read the author's checkpoints without running code from them.

They are dicts with "model_weights" and, among other things, a pickled anchor generator of the
author's own class, so that `torch.load(weights_only=True)` refuses them.
"""

import pickle
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import torch

from ..data.images import what_else_it_is
from .storages import check_storages
from .tensor_files import without_prefix

FORMAT = "a dict with 'model_weights' and 'anchor_generator', saved by the author's training code"
_NOT_NEEDED = "which no checkpoint of the author needs; nothing of it was run"
LEGACY_START = b"\x80\x02\x8a"  # protocol 2 and a long integer: torch.save before 1.6


class AnchorGeneratorStub:
    """Holds the attributes of the pickled anchor generator."""


def _no_backend() -> None:
    """Stands for a function that modules of PyTorch before 1.2 were pickled with."""


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch.nn.backends.thnn", "_get_thnn_function_backend"): _no_backend,
    ("models.mask_net.rpn_segmentation", "AnchorGenerator"): AnchorGeneratorStub,
    ("models.mask_net.rpn", "AnchorGenerator"): AnchorGeneratorStub,
    ("torchvision.models.detection.rpn", "AnchorGenerator"): AnchorGeneratorStub,
}


class _RestrictedUnpickler(pickle._Unpickler):
    """Knows the names in _ALLOWED and nothing else, and changes nothing but what it has made.

    It is pickle's own one in Python, as that in C leaves no say in what BUILD changes: classes and
    functions, too, and PyTorch acts on what it finds in classes.
    """

    stack: list[Any]
    append: Callable[[Any], None]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, {_NOT_NEEDED}") from None

    def load_build(self) -> None:
        """Set attributes of an object (BUILD): those of a stub; those of a state dict are left."""
        state = self.stack.pop()
        made = self.stack[-1]
        if type(made) is AnchorGeneratorStub and isinstance(state, dict):
            vars(made).update(state)
        elif type(made) is not OrderedDict:
            raise pickle.UnpicklingError(f"it changes {_named(made)}, {_NOT_NEEDED}")

    dispatch[pickle.BUILD[0]] = load_build

    def load_binpersid(self) -> None:
        """Take what PyTorch keeps outside: storages. A class's source is not looked at."""
        found = self.stack[-1]
        kind = found[0] if isinstance(found, tuple) and found else None
        if kind == "module" and len(found) > 1 and found[1] is AnchorGeneratorStub:
            self.stack[-1] = AnchorGeneratorStub
        elif kind == "storage":
            self.append(self.persistent_load(self.stack.pop()))
        else:
            raise pickle.UnpicklingError(f"it refers to {_named(kind)} outside, {_NOT_NEEDED}")

    dispatch[pickle.BINPERSID[0]] = load_binpersid

    def load_persid(self) -> None:
        """Refuse names of things outside: PyTorch writes none."""
        raise pickle.UnpicklingError(f"it refers to a thing outside by name, {_NOT_NEEDED}")

    dispatch[pickle.PERSID[0]] = load_persid


def _named(thing: Any) -> str:
    return getattr(thing, "__qualname__", f"a {type(thing).__name__}")


# What `torch.load` takes as its `pickle_module`.
_RESTRICTED_PICKLE = ModuleType("restricted_pickle")
_RESTRICTED_PICKLE.__dict__.update(
    Unpickler=_RestrictedUnpickler,
    load=lambda file, **kwargs: _RestrictedUnpickler(file, **kwargs).load(),
)


@dataclass(frozen=True)
class ReferenceCheckpoint:
    """What the author's file says."""

    weights: dict[str, torch.Tensor]  # by the author's names
    anchor_sizes: tuple[tuple[float, ...], ...]  # of each RPN level, in pixels
    anchor_ratios: tuple[tuple[float, ...], ...]  # of each RPN level, height / width
    note: str = ""  # what was left out of the names


def read_reference_checkpoint(path: str | Path) -> ReferenceCheckpoint:
    """Read a .pth file of the author, in PyTorch's zip format or the one before 1.6.

    A ValueError says why the file is not one of the author's.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    content = _unpickle(path)
    weights = content.get("model_weights") if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping) or not weights:
        raise ValueError(f"{path}: no 'model_weights' in it; expected {FORMAT}")
    for name, tensor in weights.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{path}: 'model_weights' holds {name!r}, which is no tensor")
        if tensor.is_complex() or not tensor.numel():
            raise ValueError(f"{path}: {name} holds no real numbers; expected {FORMAT}")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{path}: {name} holds NaN or infinity; training has diverged")
    sizes, ratios = _anchors(path, content.get("anchor_generator"))
    weights, note = without_prefix(path, weights)
    return ReferenceCheckpoint(weights, sizes, ratios, note)


def _unpickle(path: Path) -> Any:
    with path.open("rb") as file:
        start = file.read(len(LEGACY_START))
    if _is_zip(path):
        if _is_torchscript(path):
            raise ValueError(f"{path}: a TorchScript program, not a checkpoint; expected {FORMAT}")
    elif start != LEGACY_START or _is_tar(path):
        other = what_else_it_is(path)
        found = f", but it is {other}" if other else ""
        raise ValueError(f"{path}: not a file saved by PyTorch; expected {FORMAT}{found}")
    try:
        check_storages(path)
        with warnings.catch_warnings():
            # It warns that the source of the anchor generator, which is never run, has changed.
            warnings.simplefilter("ignore")
            return torch.load(
                path, map_location="cpu", pickle_module=_RESTRICTED_PICKLE, weights_only=False
            )
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle can fail anywhere
        if str(error).startswith(f"{path}: "):
            raise
        raise ValueError(
            f"{path}: damaged, or not a checkpoint ({type(error).__name__}); expected {FORMAT}"
        ) from None


def _is_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


def _is_tar(path: Path) -> bool:
    """Whether PyTorch would unpack it as what it wrote before 2017."""
    try:
        return tarfile.is_tarfile(path)
    except Exception:  # a damaged one can fail anywhere
        return True


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith("/constants.pkl") for name in file.namelist())
    except Exception:  # a damaged zip can fail anywhere; reading the checkpoint says so
        return False


def _anchors(path: Path, generator: Any) -> tuple[tuple, tuple]:
    found = []
    for key in ("sizes", "aspect_ratios"):
        levels = getattr(generator, key, ())
        if not _is_filled(levels) or not all(
            _is_filled(level) and all(isinstance(x, int | float) for x in level) for level in levels
        ):
            raise ValueError(
                f"{path}: its anchor generator has no usable {key!r}; expected {FORMAT}"
            )
        found.append(tuple(tuple(map(float, level)) for level in levels))
    if len(found[0]) != len(found[1]):
        raise ValueError(f"{path}: its anchors have sizes and ratios of different levels")
    return found[0], found[1]


def _is_filled(values: Any) -> bool:
    return isinstance(values, Sequence) and len(values) > 0
