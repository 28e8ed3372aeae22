"""Training and evaluation, where no extra is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from ctmasknet.data.phantom import write_phantom
from ctmasknet.extras import EXTRAS

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

ROOT = Path(__file__).parents[1]
SMALL = [
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64", "SOLVER.IMS_PER_BATCH", "2"),
    *("SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "()", "DATALOADER.NUM_WORKERS", "0"),
    *("MODEL.RANKED_BOXES.NUM", "8", "TEST.BOOTSTRAP_RESAMPLES", "20", "MODEL.DEVICE", "cpu"),
]
# Runs a script in a Python that has none of the modules.
PLAIN = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({sorted(sum(EXTRAS.values(), ()))}))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def train(*arguments):
    command = [sys.executable, "-c", PLAIN, ROOT / "tools/train_net.py", *arguments]
    process = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def datasets(data, kind):
    parts = {"TRAIN": "train", "VALIDATION": "val", "TEST": "test"}
    pairs = ((f"DATASETS.{key}", f"('{data / kind.format(x)}',)") for key, x in parts.items())
    return [word for pair in pairs for word in pair]


def test_both_stages_are_trained_and_evaluated(tmp_path):
    data = tmp_path / "phantom"
    write_phantom(data, patients=9, slices=2, size=96, split=(1, 1, 1))
    lesions, classes = tmp_path / "lesions", tmp_path / "classes"
    config = ROOT / "configs/quick/lesion_R18_T1.yaml"
    files = datasets(data, "lesion_merge_{}.json")
    train("--config-file", config, *SMALL, *files, "OUTPUT_DIR", lesions)
    config = ROOT / "configs/quick/ctmasknet_R18_T1.yaml"
    command = ["--config-file", config, *SMALL, *datasets(data, "{}.csv"), "OUTPUT_DIR", classes]
    train(*command, "MODEL.WEIGHTS", lesions / "model_final.pth")
    (classes / "results.json").unlink()
    train("--eval-only", *command, "MODEL.WEIGHTS", classes / "model_final.pth")
    for folder in (lesions, classes):
        assert (folder / "results.json").is_file() and list(folder.glob("inference/*/*.png"))
