"""Check that a file of torch.save holds every byte of the tensors that it promises.

PyTorch believes the sizes that a pickle states: of a tensor that is larger than what is stored of
it, it returns whatever lies in memory, and one number may stand for a tensor of any size.
"""

import math
import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from ..limits import MEMBERS, check_limit, check_unpacked

# Bytes of an element, by the name of the storage's class. Others, as UntypedStorage, count bytes.
_ITEM_SIZES = {
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    "ComplexDoubleStorage": 16,
}
# How plain tensors are made. Sparse, quantised and other ones are none of a network's; PyTorch may
# hang at them, and most of its functions do not know them.
_REBUILT = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
_WRAPPED = ("_rebuild_parameter", "_rebuild_parameter_with_state")
_LEGACY_PICKLES = 3  # before the object: a magic number, the protocol, what the machine was like


def check_storages(path: Path) -> None:
    """Raise a ValueError for tensors of which not all is in a file, or that would fill the memory.

    Nothing is run or loaded. What else is wrong with a file, `torch.load` says.
    """
    if zipfile.is_zipfile(path):
        _check_zip(path)
    else:
        with path.open("rb") as stream:
            _check_legacy(path, stream)


def _check_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        check_limit(path, len(members), MEMBERS)
        check_unpacked(path, path.stat().st_size, sum(x.file_size for x in members))
        sizes = {x.filename.partition("/")[2]: x.file_size for x in members}
        root = members[0].filename.partition("/")[0]
        with archive.open(f"{root}/data.pkl") as stream:
            promised = _promised(path, _Inspector(stream))
    for key, size in promised.items():
        if (found := sizes.get(f"data/{key}", 0)) < size:
            raise ValueError(f"{path}: damaged: found {found} bytes of a tensor of {size} ({key})")


def _check_legacy(path: Path, stream: BinaryIO) -> None:
    for _ in range(_LEGACY_PICKLES):
        _Inspector(stream).load()
    promised = _promised(path, _Inspector(stream))
    stored = _Inspector(stream).load()  # what follows: keys of the storages, in order
    missing = set(promised) - set(map(str, stored))
    size, left = sum(promised.values()), path.stat().st_size - stream.tell()
    if missing or size > left:
        raise ValueError(f"{path}: damaged: found {left} bytes of tensors of {size}")


def _promised(path: Path, inspector: "_Inspector") -> dict[str, int]:
    """Return the bytes of each storage that a pickle refers to."""
    try:
        inspector.load()
    except _NotPlainError as error:
        raise ValueError(f"{path}: holds {error}, expected plain tensors") from None
    check_unpacked(path, path.stat().st_size, inspector.bytes_of_tensors)
    return inspector.bytes_of


class _NotPlainError(ValueError):
    """What a tensor is that none of a network's is like."""


class _Anything:
    """Stands for whatever a pickle makes."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Anything":
        return super().__new__(cls)

    kind = ""  # of a storage

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def ignore(self, *args: Any) -> None:
        pass

    __call__ = __setstate__ = __setitem__ = append = extend = add = update = ignore


class _Inspector(pickle._Unpickler):
    """Reads a pickle for the sizes of its storages; all that it names is an _Anything."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream, encoding="utf-8")
        self.bytes_of: dict[str, int] = {}
        self.bytes_of_tensors = 0

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch._utils" and name in _REBUILT:
            return self._count
        if module == "torch._utils" and name not in _WRAPPED and name.startswith("_rebuild"):
            raise _NotPlainError(f"tensors of another kind ({name})")
        return type(name, (_Anything,), {})

    def _count(self, storage: Any, _: Any, shape: Any, *__: Any) -> Any:
        if type(shape) is not tuple or any(type(length) is not int for length in shape):
            raise _NotPlainError("a tensor whose shape is not whole numbers")
        item = _ITEM_SIZES.get(getattr(storage, "kind", ""), 1)
        self.bytes_of_tensors += math.prod(map(abs, shape)) * item
        return _Anything()

    def persistent_load(self, pid: Any) -> Any:
        match pid:
            case ("storage", type() as kind, key, _, int() as number, *_):
                size = number * _ITEM_SIZES.get(kind.__name__, 1)
                self.bytes_of[str(key)] = max(size, self.bytes_of.get(str(key), 0))
                storage = _Anything()
                storage.kind = kind.__name__
                return storage
            case ("module", type() as kind, *_):
                return kind
        return _Anything()  # what else is meant, PyTorch refuses
