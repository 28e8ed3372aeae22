"""The trainer of lesion models and CT-Mask-Nets."""

import logging
import time
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine import HookBase
from detectron2.engine.hooks import EvalHook
from detectron2.evaluation import DatasetEvaluator
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.events import (
    CommonMetricPrinter,
    EventStorage,
    EventWriter,
    TensorboardXWriter,
)
from torch import nn
from tqdm import tqdm

from ..checkpoint import load_weights
from ..checkpoint.loading import new_in
from ..checkpoint.settings import KEY, SettingsRecord
from ..data.registration import dataset_source
from ..errors import parts_named
from ..evaluation import ImageClassificationEvaluator, LesionEvaluator
from ..evaluation.lesion_report import LesionReportSettings
from ..evaluation.results import RESULTS, Metrics, write_results
from ..fast import accelerate
from ..fast.precision import with_precision
from ..modeling import reads_boxes
from .checkpoints import BEST_WEIGHTS, FINAL, find_resume_point, forget_checkpoints
from .divergence import BatchNames, divergence_error
from .hooks import ProgressBar, ResumableBestCheckpointer, ValidationHook
from .metrics_file import MetricsWriter, keep_lines_before
from .optimizer import build_optimizer
from .parallel_trainer import unwrapped
from .reports import datasets_to_predict, prediction_folder, write_reports
from .resuming import DueEvaluation, RepeatableSteps
from .slice_trainer import SliceTrainer
from .weight_average import WeightAverage

logger = logging.getLogger(__name__)


class Trainer(SliceTrainer):
    """Detectron2's trainer for both stages.

    Evaluates DATASETS.VALIDATION every TEST.EVAL_PERIOD iterations, keeps the checkpoint with the
    best TEST.BEST_METRIC, and at the end evaluates it on DATASETS.TEST.
    """

    def __init__(self, cfg: CfgNode):
        super().__init__(cfg)
        training_data = [*map(dataset_source, cfg.DATASETS.TRAIN)]
        classes, channels = _classes(cfg), cfg.INPUT.CHANNELS
        record = SettingsRecord(unwrapped(self.model), training_data, *classes, channels)
        self.checkpointer.add_checkpointable(KEY, record)
        self._batch = BatchNames()
        self.model.register_forward_pre_hook(self._batch)

    def resume_or_load(self, resume: bool = True) -> None:
        """Resume the last checkpoint of OUTPUT_DIR, or start from MODEL.WEIGHTS."""
        model, weights = unwrapped(self.model), self.cfg.MODEL.WEIGHTS
        lesions, images = _classes(self.cfg)
        last, unreadable = find_resume_point(self.cfg.OUTPUT_DIR) if resume else (None, [])
        if last:
            for problem in unreadable:
                logger.warning("%s; going on from %s", problem, last)
            # Detectron2 itself only warns of what does not fit.
            load_weights(model, last, (), lesions, images)
            try:
                self.checkpointer.load(str(last))
            except ValueError as error:  # the optimiser's, for other trainable parameters
                raise ValueError(f"{last}: cannot be resumed with this config: {error}") from None
            self.start_iter = self.iter + 1
            if self.start_iter >= self.max_iter:
                self.checkpointer.copy_to_final(last)
        elif weights:
            report = load_weights(model, weights, new_in(model), lesions, images)
            logger.info("%s:\n%s", weights, report)
        elif reads_boxes(self.cfg):
            raise ValueError(
                "MODEL.WEIGHTS is empty: CT-Mask-Net starts from the checkpoint of a lesion model"
            )

    def build_hooks(self) -> list:
        cfg = self.cfg

        def validate() -> dict:
            metrics = self.validate()
            if comm.is_main_process():
                _check_best_metric(cfg, metrics)
            return metrics[cfg.DATASETS.VALIDATION[0]] if len(metrics) == 1 else metrics

        evaluating = []
        if cfg.DATASETS.VALIDATION:
            evaluating.append(ValidationHook(cfg.TEST.EVAL_PERIOD, validate))
            if cfg.TEST.BEST_METRIC and comm.is_main_process():
                evaluating.append(self._best_checkpointer())
        hooks: list[HookBase | None] = []
        for hook in super().build_hooks():
            hooks += evaluating if isinstance(hook, EvalHook) else [hook]
        if cfg.SOLVER.AVERAGE_DECAY:
            average = WeightAverage(cfg.SOLVER.AVERAGE_DECAY)
            hooks = [average, *hooks, average.release]
        # Of a checkpoint, whose weights may be an average, before these are those that learn.
        return [DueEvaluation(*evaluating), RepeatableSteps(cfg.SEED), *hooks]

    def build_writers(self) -> list[EventWriter]:
        """Return Detectron2's, but metrics.json as valid JSON."""
        folder = self.cfg.OUTPUT_DIR
        return [
            CommonMetricPrinter(self.max_iter),
            MetricsWriter(folder),
            TensorboardXWriter(folder),
        ]

    def run_step(self) -> None:
        """Take a step; a FloatingPointError where it diverged, and what from."""
        try:
            super().run_step()
        except FloatingPointError as error:
            losses = self.storage.histories().get("total_loss")
            known = losses.values() if losses else []
            raise divergence_error(self.cfg, error, self._batch, known, self.iter) from error

    def _best_checkpointer(self) -> ResumableBestCheckpointer:
        cfg, metric = self.cfg, self.cfg.TEST.BEST_METRIC
        if len(cfg.DATASETS.VALIDATION) > 1:
            metric = f"{cfg.DATASETS.VALIDATION[0]}/{metric}"
        return ResumableBestCheckpointer(cfg.TEST.EVAL_PERIOD, self.checkpointer, metric)

    def train(self) -> Metrics:
        """Train, then evaluate the best checkpoint (or the last) on DATASETS.TEST.

        Returns data set -> task -> metric -> value, also written to OUTPUT_DIR/results.json.
        """
        folder, started = self.cfg.OUTPUT_DIR, time.time()
        if comm.is_main_process():
            if self.start_iter == 0:  # an earlier run in this folder is not this one
                forget_checkpoints(folder)
            keep_lines_before(folder, self.start_iter)
        super().train()
        seconds = time.time() - started
        weights = Path(folder) / BEST_WEIGHTS
        comm.synchronize()  # until the first process has written it
        if self.cfg.DATASETS.VALIDATION and weights.is_file():
            load_weights(unwrapped(self.model), weights)
        else:
            weights = weights.with_name(FINAL)
        return self._report(self.cfg, self.model, weights, seconds)

    @classmethod
    def evaluate_checkpoint(cls, cfg: CfgNode, keep_paths: bool = True) -> Metrics:
        """Evaluate MODEL.WEIGHTS on DATASETS.TEST (`--eval-only`) and write results.json.

        Without `keep_paths` its files are named without their folders.

        Returns data set -> task -> metric -> value. Raises as `load_weights` does, and a ValueError
        without a test set.
        """
        if not cfg.DATASETS.TEST:
            raise ValueError("DATASETS.TEST is empty: name the data sets to evaluate on")
        with parts_named(cfg.MODEL.NAME):
            model = build_model(with_precision(cfg))
        if cfg.MODEL.FAST:
            accelerate(model)
        report = load_weights(model, cfg.MODEL.WEIGHTS, (), *_classes(cfg))
        logger.info("%s:\n%s", cfg.MODEL.WEIGHTS, report)
        return cls._report(cfg, model, Path(cfg.MODEL.WEIGHTS), keep_paths=keep_paths)

    @classmethod
    def _report(
        cls,
        cfg: CfgNode,
        model: nn.Module,
        weights: Path,
        training_seconds: float | None = None,
        keep_paths: bool = True,
    ) -> Metrics:
        """Report DATASETS.TEST; write results.json and a last line of metrics.json."""
        started = time.time()
        names = datasets_to_predict(cfg) if cfg.DATASETS.TEST else ()
        metrics = cls.evaluate(cfg, model, names) if names else {}
        if comm.is_main_process():
            precision = getattr(unwrapped(model), "precision", torch.float32)
            computed = {
                "precision": str(precision).removeprefix("torch."),
                "seconds": {"training": training_seconds, "prediction": time.time() - started},
            }
            metrics = write_reports(cfg, weights, keep_paths, **computed)
            # Detectron2 itself writes metrics.json during training only.
            with EventStorage(cfg.SOLVER.MAX_ITER if training_seconds else 0) as storage:
                storage.put_scalars(smoothing_hint=False, **flatten_results_dict(metrics))
                MetricsWriter(cfg.OUTPUT_DIR).write()
            write_results(
                Path(cfg.OUTPUT_DIR) / RESULTS,
                metrics,
                model=cfg.MODEL.NAME,
                weights=str(weights) if keep_paths else weights.name,
                **computed,
            )
        return metrics

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """Build the model in the precision that suits the hardware.

        Raises a ValueError for float16 without scaled losses: small gradients would become zero.
        """
        cfg = with_precision(cfg)
        if cfg.MODEL.PRECISION == "float16" and not cfg.SOLVER.AMP.ENABLED:
            raise ValueError(
                "MODEL.PRECISION float16 trains with SOLVER.AMP.ENABLED True (scaled losses); "
                "or use bfloat16 or float32"
            )
        with parts_named(cfg.MODEL.NAME):
            model = super().build_model(cfg)
        return accelerate(model) if cfg.MODEL.FAST else model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(cfg, model)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """Return the evaluator of a data set: of image classes, or of lesions."""
        folder = str(prediction_folder(cfg, dataset_name))
        if MetadataCatalog.get(dataset_name).evaluator_type == "image":
            return ImageClassificationEvaluator(dataset_name, folder)
        return LesionEvaluator(
            dataset_name,
            folder,
            cfg.MODEL.MASK_ON,
            cfg.TEST.DETECTIONS_PER_IMAGE,
            LesionReportSettings.from_cfg(cfg),
        )


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


def _classes(cfg: CfgNode) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of a run's lesion classes and image classes."""
    return tuple(cfg.DATASETS.LESION_CLASSES), tuple(cfg.DATASETS.IMAGE_CLASSES)


def _check_best_metric(cfg: CfgNode, metrics: Metrics) -> None:
    known = flatten_results_dict(metrics[cfg.DATASETS.VALIDATION[0]])
    if cfg.TEST.BEST_METRIC and cfg.TEST.BEST_METRIC not in known:
        raise ValueError(
            f"TEST.BEST_METRIC is {cfg.TEST.BEST_METRIC!r}; valid are {', '.join(known)}"
        )
