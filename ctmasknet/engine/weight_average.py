"""Exponential moving average of weights while training."""

import copy

import torch
from detectron2.engine import HookBase
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .parallel_trainer import unwrapped


class WeightAverage(HookBase):
    """Keeps a moving average, which checkpoints, validation and results see in the weights' place.

    Register `self` before the hooks that are to see it, and `self.release` after them. The weights
    that go on learning are in checkpoints as the state of this hook. Whole numbers, such as
    BatchNorm's count of batches, are those of the weights.
    """

    def __init__(self, decay: float):
        """Average with this decay; after n steps it is at most (1 + n) / (10 + n).

        Raises a ValueError unless 0 < decay < 1.
        """
        if not 0 < decay < 1:
            raise ValueError(f"SOLVER.AVERAGE_DECAY is {decay}, expected 0 to below 1")
        self.decay = decay
        self.release = _Release(self)
        self._learning: dict[str, torch.Tensor] = {}

    def before_train(self) -> None:
        values = self._values()
        self._average = copy.deepcopy(values)
        if self.trainer.iter < self.trainer.max_iter:  # else it only evaluates
            for name, value in self._learning.items():  # of a resumed run
                values[name].copy_(value)
        self._learning = copy.deepcopy(values)

    def after_step(self) -> None:
        steps = self.trainer.iter + 1
        decay = min(self.decay, (1 + steps) / (10 + steps))
        named = self._values()
        values = [*named.values()]
        average = [self._average[name] for name in named]
        get_ema_multi_avg_fn(decay)(average, values, steps)
        torch._foreach_copy_([self._learning[name] for name in named], values)
        torch._foreach_copy_(values, average)

    def put_back(self) -> None:
        """Let the model have the weights that learn, but for the last time."""
        if self.trainer.iter + 1 < self.trainer.max_iter:
            named = self._values()
            learning = [self._learning[name] for name in named]
            torch._foreach_copy_([*named.values()], learning)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the weights that learn."""
        return self._learning

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Take the weights that learn from a checkpoint, whose model is the average."""
        self._learning = dict(state)

    def _values(self) -> dict[str, torch.Tensor]:
        state = unwrapped(self.trainer.model).state_dict()
        return {name: x for name, x in state.items() if x.is_floating_point()}


class _Release(HookBase):
    def __init__(self, average: WeightAverage):
        self._average = average

    def after_step(self) -> None:
        self._average.put_back()
