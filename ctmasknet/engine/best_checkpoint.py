"""Keep the best checkpoint, also across an interrupted run."""

import json
from pathlib import Path

from detectron2.engine.hooks import BestCheckpointer

from ..atomic_write import atomic_write

BEST_WEIGHTS = "model_best.pth"
BEST_RECORD = "model_best.json"


class ResumableBestCheckpointer(BestCheckpointer):
    """Detectron2's BestCheckpointer, with its best value kept in model_best.json.

    Otherwise a resumed run would overwrite model_best.pth with the first model it evaluates.
    """

    def __init__(self, eval_period: int, checkpointer, metric: str):
        """Keep the checkpoint with the largest `metric` ("dataset task/metric" in the storage)."""
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
        super().after_train()
        self._save_record()

    def _save_record(self) -> None:
        if self.best_iter == self._recorded:
            return
        best = {"metric": self._metric, "value": self.best_metric, "iteration": self.best_iter}
        with atomic_write(self._record) as partial:
            partial.write_text(json.dumps(best) + "\n")
        self._recorded = self.best_iter
