"""Progress bars with the remaining time, for runs whose log goes to a file."""

from detectron2.config import CfgNode
from detectron2.engine import HookBase
from tqdm import tqdm

from .trainer import Trainer


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


class ProgressTrainer(Trainer):
    """A trainer that shows progress bars for training and evaluation."""

    def build_hooks(self) -> list:
        # First of all, so that the bar is closed before the evaluation after training.
        return [ProgressBar("train"), *super().build_hooks()]

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str):
        loader = super().build_test_loader(cfg, dataset_name)
        return tqdm(
            loader, desc=f"evaluate {dataset_name}", unit="batch", leave=False, mininterval=1
        )
