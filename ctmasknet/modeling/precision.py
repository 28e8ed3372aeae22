"""In which number format a network computes."""

import contextlib

import torch

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def dtype_of(name: str) -> torch.dtype:
    """The dtype of convolutions and matrices; a config that still says "auto" means float32."""
    return getattr(torch, "float32" if name == "auto" else name)


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """PyTorch's autocast to `dtype`; nothing for float32. float64 networks stay in float64.

    Cast weights are not kept: threads would share them, and with them parts of a graph.
    """
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype, cache_enabled=False)


def full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """Suspend autocast, for layers whose output is ranked: bfloat16 would make ties of scores."""
    return torch.autocast(device.type, enabled=False)
