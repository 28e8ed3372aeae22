"""The one entry: put faster functions into the seams of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from torch import nn

from ..config import require_one_of
from ..modeling import LesionRCNN
from .convolution import channels_last, folded_batch_norm
from .grey_input import grey_input
from .kept_rois import kept_rois
from .mask_head import linear_upsampling
from .mask_paste import separable_mask_paste
from .microbatches import microbatches
from .nms import best_first_nms
from .projected_roi_align import projected_roi_align
from .roi_align import separable_roi_align
from .stem import pooled_stem

# Each changes a LesionRCNN or CTMaskNet in place; parameters, buffers and their names stay. They
# are applied in this order. What is computed stays the same up to rounding (tests/fast). Methods
# that a subclass overrides are left alone.
ACCELERATIONS: dict[str, Callable[[LesionRCNN], None]] = {
    function.__name__: function
    for function in (
        channels_last,
        folded_batch_norm,
        pooled_stem,
        grey_input,
        separable_roi_align,
        projected_roi_align,
        best_first_nms,
        kept_rois,
        linear_upsampling,
        separable_mask_paste,
        microbatches,
    )
}

_Model = TypeVar("_Model", bound=nn.Module)


def accelerate(model: _Model, only: Iterable[str] | None = None) -> _Model:
    """Make a model faster in place; what it computes stays the same up to rounding.

    But images of several sizes in a batch are not padded to the largest.

    Args:
        model: a LesionRCNN or CTMaskNet; other models are left as they are. Its attribute
            `accelerations` names what was applied, so a second call applies nothing twice.
        only: names out of ACCELERATIONS; None takes all of them.

    Returns:
        The model.

    Raises:
        ValueError: unknown name.
    """
    wanted = set(ACCELERATIONS if only is None else only)
    for name in sorted(wanted):
        require_one_of("acceleration", name, ACCELERATIONS)
    if isinstance(model, LesionRCNN):
        applied = getattr(model, "accelerations", ())
        for name, apply in ACCELERATIONS.items():
            if name in wanted and name not in applied:
                apply(model)
                applied += (name,)
        model.accelerations = applied
    return model
