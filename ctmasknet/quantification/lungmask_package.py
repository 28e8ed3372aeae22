"""The lung by the package lungmask, where it is installed with its weights.

Hofmanninger J, Prayer F, Pan J, et al. Automatic lung segmentation in routine imaging is primarily
a data diversity problem, not a methodology problem. Eur Radiol Exp 2020; 4:50.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..extras import require
from ..lung import LungMask

MODEL = "R231"  # both lungs with dense lesions and effusion, without the trachea


def require_lungmask() -> None:
    """Check that the package is installed and its weights are where it keeps them.

    Raises:
        MissingExtraError: the package is missing.
        ValueError: its weights are; the package itself would download them.
    """
    url = _package().MODEL_URLS[MODEL][0]
    weights = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not weights.is_file():
        raise ValueError(
            f"{weights}: no such file, expected the weights of lungmask's model {MODEL}: put "
            f"{url} there, or use the lung that is found by threshold"
        )


def apply_lungmask(hu: np.ndarray) -> LungMask:
    """Find the lungs with lungmask's model R231.

    Args:
        hu: (Z, H, W) int16 or float32, HU, upright; Z may be 1.

    Returns:
        The lungs with their dense lesions, so that it does not grow.

    Raises:
        MissingExtraError: the package is missing.
        ValueError: its weights are, or it found no lung.
    """
    require_lungmask()
    values = np.ascontiguousarray(np.clip(hu, -1024, 3071), np.int16)
    mask = _inferer().apply(values) > 0
    if not mask.any():
        raise ValueError(f"lungmask's model {MODEL} found no lung; give a lung mask")
    return LungMask(mask, f"lungmask {_version()}, model {MODEL}", grows=False)


def _package() -> Any:
    require("lungmask", "lungmask.mask")
    return import_module("lungmask.mask")


def _version() -> str:
    try:
        return version("lungmask")
    except PackageNotFoundError:  # a copy that was not installed
        return "of unknown version"


@cache
def _inferer() -> Any:
    return _package().LMInferer(MODEL, tqdm_disable=True)
