"""Which number format suits the hardware."""

import logging

import torch
from detectron2.config import CfgNode

from ..config import require_one_of
from ..modeling.precision import PRECISIONS

_log = logging.getLogger(__name__)


def choose_precision(device: str | torch.device) -> tuple[str, str]:
    """The fastest precision, by hardware, whose results are float32's within noise.

    Never float16: its gradients vanish unless the loss is scaled.

    Args:
        device: "cpu", "cuda", "cuda:1", ...

    Returns:
        One of PRECISIONS but "auto", and why, in words.
    """
    kind = torch.device(device).type
    if kind == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return "bfloat16", "this GPU has it"
    if kind != "cpu":
        return "float32", "this GPU is slow at less"
    has = torch.cpu.get_capabilities()
    for instructions, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512 BF16")):
        if has.get(instructions):
            return "bfloat16", f"this processor has {name}"
    return "float32", "this processor has no bfloat16 instructions"


def with_precision(cfg: CfgNode) -> CfgNode:
    """Replace MODEL.PRECISION "auto" by what the hardware is best at, and log the choice.

    Args:
        cfg: not changed; reads MODEL.PRECISION and MODEL.DEVICE.

    Returns:
        A frozen copy.

    Raises:
        ValueError: unknown precision, or float16 on a CPU.
    """
    cfg = cfg.clone()
    cfg.defrost()
    name, device = cfg.MODEL.PRECISION, cfg.MODEL.DEVICE
    check_precision(name, device)
    why = "MODEL.PRECISION"
    if name == "auto":
        name, why = choose_precision(device)
        why += "; MODEL.PRECISION float32 for full precision" if name != "float32" else ""
        cfg.MODEL.PRECISION = name
    _log.info("precision: %s on %s (%s)", name, device, why)
    cfg.freeze()
    return cfg


def check_precision(name: str, device: str) -> None:
    """Raise a ValueError for an unknown precision, or float16 on a CPU."""
    require_one_of("MODEL.PRECISION", name, PRECISIONS)
    if name == "float16" and torch.device(device).type == "cpu":
        raise ValueError(
            "MODEL.PRECISION is float16, which is for GPUs; on a CPU use bfloat16, float32 or auto"
        )
