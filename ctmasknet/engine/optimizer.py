"""Optimisers by key."""

import torch
from detectron2.config import CfgNode
from detectron2.solver import get_default_optimizer_params
from detectron2.solver.build import maybe_add_gradient_clipping
from torch import nn

from ..config import require_one_of

OPTIMIZERS = {"SGD": torch.optim.SGD, "ADAM": torch.optim.Adam, "ADAMW": torch.optim.AdamW}


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """Build `SOLVER.OPTIMIZER` over the trainable parameters.

    Learning rates and weight decays by parameter and gradient clipping follow Detectron2's SOLVER
    keys. Raises a ValueError for an unknown optimiser, or a model with nothing to train.
    """
    name = cfg.SOLVER.OPTIMIZER.upper()
    require_one_of("SOLVER.OPTIMIZER", name, OPTIMIZERS)
    groups = get_default_optimizer_params(
        model,
        base_lr=cfg.SOLVER.BASE_LR,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
        weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
        bias_lr_factor=cfg.SOLVER.BIAS_LR_FACTOR,
        weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
    )
    if not groups:
        raise ValueError("the model has no trainable parameter")
    # One call for all parameters instead of several for each; PyTorch has it for these devices.
    fused = all(x.device.type in ("cpu", "cuda") for x in model.parameters())
    options = {"lr": cfg.SOLVER.BASE_LR, "weight_decay": cfg.SOLVER.WEIGHT_DECAY, "fused": fused}
    if name == "SGD":
        options |= {"momentum": cfg.SOLVER.MOMENTUM, "nesterov": cfg.SOLVER.NESTEROV}
    return maybe_add_gradient_clipping(cfg, OPTIMIZERS[name])(groups, **options)
