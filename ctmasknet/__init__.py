"""Lesion segmentation and slice classification in chest CT, as a Detectron2 plugin.

Importing the package registers its backbones, heads, meta-architectures and data sets with
Detectron2. Research use only, never for diagnosis.
"""

import warnings
from typing import TYPE_CHECKING

from . import interrupts  # noqa: F401  before all that takes time
from .lazy_names import lazy_names
from .lean_imports import import_torchvision

try:
    import detectron2  # noqa: F401
except ImportError as error:
    raise ImportError(
        "ctmasknet needs Detectron2, which is not on PyPI. With a C++ compiler: pip install "
        "--no-build-isolation 'git+https://github.com/facebookresearch/detectron2'. Without one: "
        "ctmasknet-install-detectron2 (its Python files, seconds)."
    ) from error

with warnings.catch_warnings():
    # Detectron2 uses torch.jit.script, which current PyTorch warns about: nothing for our users.
    warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)
    import_torchvision()  # before Detectron2 does
    from . import modeling  # noqa: F401  only registration

from .config import add_ctmasknet_config, get_cfg
from .data.builtin import register_builtin

if TYPE_CHECKING:
    from .inference import Predictor

__version__ = "0.1.0"
__all__ = ["Predictor", "add_ctmasknet_config", "get_cfg"]

register_builtin()
# Training does without what prediction needs.
__getattr__ = lazy_names(__name__, {"Predictor": "inference"})
