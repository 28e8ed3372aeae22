"""The loaders of training and evaluation: of slices, or of their ranked boxes."""

import inspect
import logging
from collections.abc import Sequence

from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.evaluation import inference_on_dataset, print_csv_format
from detectron2.utils import comm
from torch import nn
from torch.utils.data import DataLoader

from ..data.mapper import SliceMapper
from ..evaluation.results import Metrics
from .batches import build_train_loader, leave_interrupts
from .parallel_trainer import ParallelTrainer, unwrapped
from .ranked_cache import (
    build_ranked_test_loader,
    build_ranked_train_loader,
    rows_are_cached,
    what_varies,
)

logger = logging.getLogger(__name__)


class SliceTrainer(ParallelTrainer):
    """Loads slices; for an image head that is trained alone, ranked boxes that are computed once.

    A subclass with a loader of its own is trained and validated on what that loader gives.
    """

    # Validation set -> loader of its ranked boxes; None: validation is on slices.
    _ranked_loaders: dict[str, DataLoader] | None = None

    def train(self):
        """Train, on ranked boxes where these never change."""
        if rows_are_cached(self.cfg):
            self._load_ranked_rows()
        return super().train()

    def _load_ranked_rows(self) -> None:
        cfg, model = self.cfg, unwrapped(self.model)
        for loader in ("build_train_loader", "build_test_loader"):
            if inspect.getattr_static(type(self), loader) is not vars(SliceTrainer)[loader]:
                name = type(self).__name__
                logger.info("%s has its own %s: ranked boxes are not kept", name, loader)
                return
        if reason := what_varies(cfg):
            logger.info("%s: training computes ranked boxes anew in every epoch", reason)
        else:
            self._trainer.reset_data_loader(lambda: build_ranked_train_loader(cfg, model))
        self._ranked_loaders = {
            name: build_ranked_test_loader(cfg, model, name) for name in cfg.DATASETS.VALIDATION
        }

    def validate(self) -> Metrics:
        """Evaluate the model on DATASETS.VALIDATION, as `evaluate`."""
        if self._ranked_loaders is None:
            return self.evaluate(self.cfg, self.model, self.cfg.DATASETS.VALIDATION)
        results = {}
        for name, loader in self._ranked_loaders.items():
            evaluator = self.build_evaluator(self.cfg, name)
            results[name] = inference_on_dataset(self.model, loader, evaluator)
            if comm.is_main_process():
                print_csv_format(results[name])
        return results

    @classmethod
    def evaluate(cls, cfg: CfgNode, model: nn.Module, dataset_names: Sequence[str]) -> Metrics:
        """Evaluate a model on registered data sets; return data set -> task -> metric -> value."""
        cfg = cfg.clone()
        cfg.defrost()
        cfg.DATASETS.TEST = tuple(dataset_names)
        results = cls.test(cfg, model)
        # Detectron2 leaves the data set's name out when there is one.
        return results if len(dataset_names) > 1 else {dataset_names[0]: results}

    @classmethod
    def build_train_loader(cls, cfg: CfgNode):
        try:
            return build_train_loader(cfg, SliceMapper(cfg, is_train=True))
        except AssertionError as error:  # how Detectron2 says that nothing is left to train on
            raise ValueError(
                f"DATASETS.TRAIN: {error} Slices without lesions are skipped in training "
                "(DATALOADER.FILTER_EMPTY_ANNOTATIONS)"
            ) from None

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str):
        loader = build_detection_test_loader(
            cfg,
            dataset_name,
            mapper=SliceMapper(cfg, is_train=False),
            batch_size=cfg.TEST.IMS_PER_BATCH,
        )
        loader.worker_init_fn = leave_interrupts
        return loader
