"""Say where a training diverged, and let it go on from before."""

import statistics
from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode

from .checkpoints import forget_checkpoints

_FACTOR = 10  # a loss is out of its range above so many times its median
_NAMED = 8  # images of a batch


class BatchNames:
    """Keeps the files of the last batch that a model was given, as a hook before its forward."""

    def __init__(self) -> None:
        self._files: list[str] = []

    def __call__(self, model: Any, inputs: tuple) -> None:
        self._files = [x.get("file_name", "?") for x in inputs[0]]

    def __str__(self) -> str:
        more = len(self._files) - _NAMED
        return ", ".join(self._files[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def left_range_at(losses: Sequence[tuple[float, float]], iteration: int) -> int:
    """Return the iteration since which the loss is out of its range.

    Args:
        losses: (loss, its iteration) of a training, in order.
        iteration: the next one, whose loss is NaN or infinite.
    """
    if not losses:
        return iteration
    limit = _FACTOR * statistics.median(loss for loss, _ in losses)
    for loss, number in reversed(losses):
        if loss <= limit:
            break
        iteration = int(number)
    return iteration


def divergence_error(
    cfg: CfgNode,
    error: FloatingPointError,
    batch: BatchNames,
    losses: Sequence[tuple[float, float]],
    iteration: int,
) -> FloatingPointError:
    """Return the error of a training that diverged, which then never goes on from such weights.

    Checkpoints are good whose weights gave a loss in its range: those before the last step that
    did.
    """
    since = left_range_at(losses, iteration)
    good = forget_checkpoints(cfg.OUTPUT_DIR, since - 1)
    advice = f"with a lower SOLVER.BASE_LR than {cfg.SOLVER.BASE_LR:g}"
    return FloatingPointError(
        f"training diverged at iteration {iteration}, on the batch of {batch}: "
        f"{' '.join(str(error).split())}. The loss is out of its range since iteration {since}; "
        + (
            f"{good} is from before: start from it (--weights) {advice}"
            if good
            else f"no checkpoint is from before: start again {advice}"
        )
    )
