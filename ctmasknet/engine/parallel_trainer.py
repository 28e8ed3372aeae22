"""Detectron2's trainer in several processes, on a CPU too."""

import weakref
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.engine import (
    AMPTrainer,
    DefaultTrainer,
    SimpleTrainer,
    TrainerBase,
    create_ddp_model,
)
from detectron2.utils import comm
from torch import distributed, nn

from .checkpoints import RunCheckpointer
from .hooks import AverageNormStatistics


class ParallelTrainer(DefaultTrainer):
    """A DefaultTrainer whose processes may share a CPU, and always hold the same model.

    Gradients are means over the processes. A CT-Mask-Net's loss is a mean over images, so N
    processes take the same steps as one with the same SOLVER.IMS_PER_BATCH. Those of a lesion model
    differ: each process draws its RoIs, and BatchNorm normalises by its part of the batch (by all
    of it with MODEL.RESNETS.NORM "naiveSyncBN", or on GPUs "SyncBN").
    """

    def __init__(self, cfg: CfgNode):
        """Build all parts in DefaultTrainer's order, of a config that `set_up` has prepared."""
        # DefaultTrainer's own constructor names the GPU of each process: an error on a CPU.
        TrainerBase.__init__(self)
        cfg = self.auto_scale_workers(cfg, comm.get_world_size())
        check_processes(cfg)
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        data_loader = self.build_train_loader(cfg)
        # Without device_ids DDP leaves a model where it is, and inputs to the model itself.
        # Buffers are left alone, as an evaluation may call the models unequally often.
        model = create_ddp_model(model, broadcast_buffers=False, device_ids=None)
        kind = AMPTrainer if cfg.SOLVER.AMP.ENABLED else SimpleTrainer
        self._trainer = kind(model, data_loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = RunCheckpointer(model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self))
        self.start_iter, self.max_iter, self.cfg = 0, cfg.SOLVER.MAX_ITER, cfg
        # First, so that checkpoints and validation see the common statistics.
        self.register_hooks([AverageNormStatistics(), *self.build_hooks()])


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model that DistributedDataParallel may hold."""
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def check_processes(cfg: CfgNode) -> None:
    """Raise a ValueError if processes cannot train together; all of them must call it."""
    count, batch = comm.get_world_size(), cfg.SOLVER.IMS_PER_BATCH
    if count == 1:
        return
    if batch % count:
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH is {batch}, which {count} processes cannot share: set it to a "
            f"multiple of {count}"
        )
    if cfg.MODEL.DEVICE == "cpu" and distributed.get_backend() == "nccl":
        raise ValueError(
            "MODEL.DEVICE is cpu, but processes on a machine with GPUs exchange gradients through "
            "these: hide them (CUDA_VISIBLE_DEVICES= )"
        )
    comm.synchronize()  # until the first process has made the folder
    if not (Path(cfg.OUTPUT_DIR) / "config.yaml").is_file():
        raise ValueError(
            f"{cfg.OUTPUT_DIR}: the first process's config.yaml is not there: OUTPUT_DIR must be "
            "one folder that all machines share, for their checkpoints"
        )
