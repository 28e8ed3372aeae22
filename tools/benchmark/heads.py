"""All epochs of a training of the image head alone, from PNG files on disk."""

from __future__ import annotations

import logging
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode

from ctmasknet.checkpoint import load_weights
from ctmasknet.checkpoint.loading import NEW_IN_CT_MASK_NET
from ctmasknet.engine import Trainer
from ctmasknet.engine.hooks import ProgressBar
from ctmasknet.engine.ranked_cache import rows_are_cached, what_varies

from .rounds import measure
from .settings import TORCHVISION, Case, Contender, config_of
from .slice_files import slice_dataset

_ROUNDS = 5  # of the peer's steps


class _TimedTrainer(Trainer):
    """Trains as every run does, with a progress bar, and times the ranked rows.

    Not a ProgressTrainer, whose loader keeps no ranked rows.
    """

    rows_seconds: float

    def build_hooks(self) -> list:
        return [ProgressBar("train"), *super().build_hooks()]

    def _load_ranked_rows(self) -> None:
        started = time.perf_counter()
        super()._load_ranked_rows()
        self.rows_seconds = time.perf_counter() - started


def measure_heads(
    case: Case, precision: str, slices: int, epochs: int, folder: Path | None = None
) -> dict[str, Any]:
    """Train the image head by the path that a training takes, and time the peer's steps.

    Args:
        case: a training of the heads: config, batch, threads, device and overrides.
        precision: of the network.
        slices: number of files.
        epochs: passes over them.
        folder: see `slice_dataset`.

    Returns:
        Settings; "seconds" in all, "rows_seconds" of them until all ranked rows are computed;
        "peer_seconds_per_image" measured, and from it "peer_seconds" and "times_faster" computed.

    Raises:
        ValueError: no slice or no epoch, a config that trains more than the image head or whose
            images vary, or the peer fails.
    """
    for name, value in (("--slices", slices), ("--epochs", epochs)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more")
    cfg = _config(case, precision, slices, epochs)
    (peer,) = measure(case, [Contender(TORCHVISION)], _ROUNDS)
    if peer.error:
        raise ValueError(f"{TORCHVISION}: {peer.error}")
    theirs = statistics.median(peer.seconds) / case.batch
    torch.set_num_threads(case.threads)
    for logger in ("detectron2", "fvcore"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    with slice_dataset(slices, folder) as (dataset, scratch):
        cfg.DATASETS.TRAIN, cfg.OUTPUT_DIR = (dataset,), str(scratch)
        torch.manual_seed(0)
        trainer = _TimedTrainer(cfg)
        if case.weights:
            load_weights(trainer.model, case.weights, NEW_IN_CT_MASK_NET)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
    return {
        "case": case,
        "precision": precision,
        "slices": slices,
        "epochs": epochs,
        "iterations": cfg.SOLVER.MAX_ITER,
        "seconds": seconds,
        "rows_seconds": trainer.rows_seconds,
        "peer_seconds_per_image": theirs,
        "peer_seconds": theirs * epochs * slices,
        "times_faster": theirs * epochs * slices / seconds,
    }


def _config(case: Case, precision: str, slices: int, epochs: int) -> CfgNode:
    """The training's config, without its data set."""
    cfg = config_of(case, precision).clone()
    cfg.defrost()
    cfg.DATALOADER.RANKED_BOXES_FOLDER = ""  # of this run alone, so they are computed
    if not rows_are_cached(cfg):
        raise ValueError(f"{case.config_file}: give a config with MODEL.TRAINABLE heads")
    if reason := what_varies(cfg):
        raise ValueError(f"{case.config_file}: {reason}, so ranked rows change in every epoch")
    cfg.SOLVER.IMS_PER_BATCH = case.batch
    cfg.SOLVER.MAX_ITER = cfg.SOLVER.CHECKPOINT_PERIOD = -(-epochs * slices // case.batch)
    cfg.TEST.EVAL_PERIOD = 0
    return cfg


def describe_heads_run(found: dict[str, Any]) -> str:
    """The result in words."""
    each = 1000 * (found["seconds"] - found["rows_seconds"]) / found["iterations"]
    return (
        f"{found['case'].text}, {found['precision']}: {found['epochs']} epochs of "
        f"{found['slices']} slices\n"
        f"{found['seconds']:.0f} s, all of it run: {found['rows_seconds']:.0f} s for the ranked "
        f"rows from PNG files, then {found['iterations']} steps of {each:.1f} ms\n"
        f"torchvision: {1000 * found['peer_seconds_per_image']:.0f} ms an image measured over "
        f"{_ROUNDS} steps, so {found['peer_seconds']:.0f} s computed, not run: "
        f"{found['times_faster']:.0f} times"
    )
