"""What lets a resumed run take the very steps of one that was never stopped."""

from typing import Any

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import nn

from .batches import TrainingBatches, seed_generators
from .parallel_trainer import unwrapped


class RepeatableSteps(HookBase):
    """Lets each step follow from the run's seed and the number of the step.

    Random numbers of a step are seeded by both, those of an image by its place in the order, which
    can begin at any batch (batches.py). So checkpoints keep seeds alone, not the state of
    generators in workers that have read ahead. A loader of one's own starts anew.
    """

    def __init__(self, seed: int):
        """Take the run's seed; a negative one draws one that all processes share."""
        self._seed = seed if seed >= 0 else comm.shared_random_seed()
        self._order: dict[str, Any] | None = None
        self._calls = 0  # of the model in a step

    def state_dict(self) -> dict[str, Any]:
        """Return the seed and what was drawn for the order of images."""
        return {"seed": self._seed, "order": self._order}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._seed, self._order = state["seed"], state["order"]

    def before_train(self) -> None:
        batches = getattr(self.trainer.data_loader, "batch_sampler", None)
        if isinstance(batches, TrainingBatches):
            batches.start = self.trainer.start_iter
            batches.load_state_dict(self._order or {})
            self._order = batches.state_dict()

        self.trainer.model.register_forward_pre_hook(self._seed_generators)

    def before_step(self) -> None:
        self._calls = 0

    def _seed_generators(self, model: nn.Module, inputs: tuple) -> None:
        """Seed a training model's numbers when it has its images, which may have drawn some."""
        if not model.training:
            return
        number = seed_generators(self._seed, comm.get_rank(), self.trainer.iter, self._calls)
        self._calls += 1
        if torch.cuda.is_initialized():  # on a CPU nothing of GPUs is asked or queued
            torch.cuda.manual_seed_all(number)
        heads = getattr(unwrapped(model), "roi_heads", None)
        if (fill := getattr(heads, "fill_generator", None)) is not None:
            fill.manual_seed(number)


class DueEvaluation(HookBase):
    """Evaluates the checkpoint from which a run goes on, if that was due.

    A checkpoint is written before its evaluation, in which the run may have ended.
    """

    def __init__(self, *hooks: HookBase):
        """Repeat `after_step` of hooks that evaluate. Register this one before all others."""
        self._hooks = hooks

    def before_train(self) -> None:
        trainer = self.trainer
        if trainer.start_iter == 0:
            return
        trainer.iter = trainer.storage.iter = trainer.start_iter - 1
        for hook in self._hooks:
            hook.before_train()
            hook.after_step()
        trainer.iter = trainer.storage.iter = trainer.start_iter
