"""Marks by which PyTorch's profiler knows the network's parts."""

import torch

PARTS = ("preprocess", "backbone", "proposals", "boxes", "image_head", "masks", "paste")


def profiled(part: str) -> torch.profiler.record_function:
    """Mark what runs inside as one of PARTS, "ctmasknet/<part>"; marks are never nested."""
    assert part in PARTS
    return torch.profiler.record_function(f"ctmasknet/{part}")
