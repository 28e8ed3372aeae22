from pathlib import Path

import pytest
from detectron2.config import get_cfg as get_detectron2_cfg
from detectron2.modeling import build_model

from ctmasknet import get_cfg
from ctmasknet.engine import load_config

FOLDER = Path(__file__).parents[1] / "configs"
CONFIGS = sorted(FOLDER.glob("*/*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_config_builds(path):
    cfg = load_config(str(path))
    assert build_model(cfg).training
    assert cfg.OUTPUT_DIR == f"output/{path.stem}"


def test_detectron2_keys_keep_their_defaults():
    ours = get_cfg()
    for key, value in get_detectron2_cfg().items():
        if not hasattr(value, "items"):
            assert ours[key] == value
            continue
        shared = {k: ours[key][k] for k in value if not hasattr(value[k], "items")}
        assert shared == {k: v for k, v in value.items() if not hasattr(v, "items")}
