"""Spares the import of what torchvision asks for but hardly ever uses."""

import importlib
import sys
from types import ModuleType
from typing import Any

_DYNAMO = "torch._dynamo.utils"


def import_torchvision() -> None:
    """Import torchvision without PyTorch's compiler, which takes two seconds to import.

    torchvision.ops.roi_align wants one function of it, for deterministic training on a GPU. A
    stand-in that imports the compiler when it is called takes its place for the time of the import.
    """
    if _DYNAMO in sys.modules or "torchvision" in sys.modules:
        return
    import torch  # noqa: F401  first: it may import its compiler itself

    stand_in = ModuleType(_DYNAMO)
    stand_in.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    sys.modules[_DYNAMO] = stand_in
    try:
        importlib.import_module("torchvision")
    except (ImportError, AttributeError):  # another torchvision may want more than this function
        for name in [x for x in sys.modules if x.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    finally:
        del sys.modules[_DYNAMO]


def _is_compile_supported(device: Any) -> Any:
    return importlib.import_module(_DYNAMO).is_compile_supported(device)
