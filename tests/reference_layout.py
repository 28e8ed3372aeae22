"""Small checkpoints in the author's layout, for the tests of conversion."""

import sys
from collections import OrderedDict
from types import ModuleType

import pytest
import torch
from torch import nn

SIZES = (2.0, 4.0, 8.0, 16.0, 32.0)
RATIOS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0)
ANCHOR_CLASSES = (
    "models.mask_net.rpn_segmentation",
    "models.mask_net.rpn",
    "torchvision.models.detection.rpn",
)


def write_reference_checkpoint(
    path, weights, legacy=False, anchor_module=ANCHOR_CLASSES[0], levels=5, **replaced
):
    """Save weights (author's name -> tensor) as the author's training code does.

    The pickled anchor generator's class exists only while the file is written.
    """
    generator_class = type("AnchorGenerator", (nn.Module,), {"__module__": anchor_module})
    generator = generator_class()
    generator.sizes = (SIZES,) * levels
    generator.aspect_ratios = (RATIOS,) * levels
    content = {
        "epoch": "3",
        "model_name": "maskrcnn",
        "model_weights": OrderedDict(weights),
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 1e-5, "params": [0]}]},
        "lrate": 1e-5,
        "anchor_generator": generator,
        **replaced,
    }
    module = ModuleType(anchor_module)
    module.AnchorGenerator = generator_class
    with pytest.MonkeyPatch.context() as patch:
        parts = anchor_module.split(".")
        for i in range(1, len(parts)):
            parent = ".".join(parts[:i])
            if parent not in sys.modules:
                patch.setitem(sys.modules, parent, ModuleType(parent))
        patch.setitem(sys.modules, anchor_module, module)
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path
