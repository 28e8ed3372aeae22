"""Folders of training runs, as Predictor takes them, with small untrained networks."""

from types import SimpleNamespace

import pytest
import torch
from tiny_models import CONFIGS, tiny_cfg, tiny_model

SMALL = ("INPUT.MIN_SIZE_TEST", 64, "DATASETS.TRAIN", ("phantom_train",))


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """`lesion` and `ctmasknet`: folders with config.yaml and model_best.pth."""
    root = tmp_path_factory.mktemp("runs")
    for kind in CONFIGS:
        folder = root / kind
        folder.mkdir()
        cfg = tiny_cfg(kind, *SMALL, "MODEL.NAME", f"tiny_{kind}")
        (folder / "config.yaml").write_text(cfg.dump())
        weights = tiny_model(kind).state_dict()
        if kind == "lesion":
            # Logits on both sides of the 0.5 that cuts masks.
            weights["roi_heads.mask_head.predictor.weight"] *= 300
            weights["roi_heads.mask_head.predictor.bias"] += 0.5
        torch.save({"model": weights}, folder / "model_best.pth")
    return SimpleNamespace(**{kind: root / kind for kind in CONFIGS})
