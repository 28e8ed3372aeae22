"""Names of the network's stages in PyTorch's profiler."""

import torch

STAGES = ("preprocess", "backbone", "proposals", "boxes", "image_head", "masks", "paste")


def stage(name: str) -> torch.profiler.record_function:
    """Mark what runs inside as one of STAGES, "ctmasknet/<name>"; stages are never nested."""
    assert name in STAGES
    return torch.profiler.record_function(f"ctmasknet/{name}")
