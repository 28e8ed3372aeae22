"""Hooks of training: the best checkpoint, common BatchNorm statistics, and a progress bar."""

import json
from pathlib import Path

import torch
from detectron2.engine import HookBase
from detectron2.engine.hooks import BestCheckpointer, EvalHook
from detectron2.utils import comm
from fvcore.nn.precise_bn import get_bn_modules
from torch import distributed
from tqdm import tqdm

from ..atomic_write import atomic_write
from .checkpoints import BEST_WEIGHTS

BEST_RECORD = "model_best.json"


class ValidationHook(EvalHook):
    """Detectron2's EvalHook, which evaluates no training that was stopped at its last step."""

    def after_train(self) -> None:
        if self.trainer.iter >= self.trainer.max_iter:
            super().after_train()


class ResumableBestCheckpointer(BestCheckpointer):
    """Detectron2's BestCheckpointer, with its best value kept in model_best.json.

    Otherwise a resumed run would overwrite model_best.pth with the first model it evaluates.
    """

    def __init__(self, eval_period: int, checkpointer, metric: str):
        """Keep the checkpoint with the largest `metric`, as the storage calls it."""
        super().__init__(eval_period, checkpointer, metric, mode="max")
        self._metric = metric
        self._record = Path(checkpointer.save_dir) / BEST_RECORD

    def before_train(self) -> None:
        if self.trainer.start_iter == 0:
            # The best of an earlier run in this folder is not this run's.
            self._record.unlink(missing_ok=True)
            self._record.with_name(BEST_WEIGHTS).unlink(missing_ok=True)
        elif self._record.is_file():
            best = json.loads(self._record.read_text())
            if best["metric"] == self._metric:
                self.best_metric, self.best_iter = best["value"], best["iteration"]
        self._recorded = self.best_iter

    def after_step(self) -> None:
        super().after_step()
        self._save_record()

    def after_train(self) -> None:
        if self.trainer.iter >= self.trainer.max_iter:  # it did not fail at its last step
            super().after_train()
            self._save_record()

    def _save_record(self) -> None:
        if self.best_iter == self._recorded:
            return
        best = {"metric": self._metric, "value": self.best_metric, "iteration": self.best_iter}
        with atomic_write(self._record) as partial:
            partial.write_text(json.dumps(best) + "\n")
        self._recorded = self.best_iter


class AverageNormStatistics(HookBase):
    """Gives all processes the mean of their BatchNorm statistics after each step.

    Otherwise these would drift apart, and validation, which the processes share, would be of models
    that no checkpoint holds.
    """

    def after_step(self) -> None:
        norms = get_bn_modules(self.trainer.model)  # those in training mode
        buffers = [x for norm in norms for x in (norm.running_mean, norm.running_var)]
        if not buffers or comm.get_world_size() == 1:
            return
        mean = torch.cat(buffers)
        distributed.all_reduce(mean)
        mean /= comm.get_world_size()
        for buffer, own in zip(buffers, mean.split([*map(len, buffers)]), strict=True):
            buffer.copy_(own)


class ProgressBar(HookBase):
    """Show iterations, remaining time and the total loss of a training run."""

    def __init__(self, description: str):
        self._description = description

    def before_train(self) -> None:
        start, total = self.trainer.start_iter, self.trainer.max_iter
        self._bar = tqdm(total=total, initial=start, desc=self._description, mininterval=1)

    def after_step(self) -> None:
        loss = self.trainer.storage.latest().get("total_loss")
        if loss and self.trainer.iter % 5 == 0:
            self._bar.set_postfix(loss=f"{loss[0]:.3f}", refresh=False)
        self._bar.update()

    def after_train(self) -> None:
        self._bar.close()
