"""Training and evaluation, where no extra is installed."""

import json
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
    *("MODEL.RPN.POST_NMS_TOPK_TEST", "30", "MODEL.RANKED_BOXES.NUM", "8", "MODEL.DEVICE", "cpu"),
    *("TEST.BOOTSTRAP_RESAMPLES", "20", "TEST.DETECTIONS_PER_IMAGE", "10"),
]
# Runs tools/train_net.py with several command lines in a Python that has none of the modules.
PLAIN = f"""
import json, runpy, sys
sys.modules.update(dict.fromkeys({sorted(sum(EXTRAS.values(), ()))}))
from detectron2.engine import default_argument_parser
main = runpy.run_path(sys.argv[1])["main"]
for command in json.loads(sys.argv[2]):
    main(default_argument_parser().parse_args(command))
"""


def datasets(data, kind):
    parts = {"TRAIN": "train", "VALIDATION": "val", "TEST": "test"}
    pairs = ((f"DATASETS.{key}", f"('{data / kind.format(x)}',)") for key, x in parts.items())
    return [word for pair in pairs for word in pair]


def test_both_stages_are_trained_and_evaluated(tmp_path):
    data = tmp_path / "phantom"
    write_phantom(data, patients=9, slices=2, size=96, split=(1, 1, 1))
    lesions, classes = tmp_path / "lesions", tmp_path / "classes"
    quick, files = ROOT / "configs/quick", datasets(data, "lesion_merge_{}.json")
    stage_1 = ["--config-file", quick / "lesion_R18_T1.yaml", *SMALL, *files, "OUTPUT_DIR", lesions]
    files = datasets(data, "{}.csv")
    stage_2 = ["--config-file", quick / "ctmasknet_R18_T1.yaml", *SMALL, *files, "OUTPUT_DIR"]
    first, last = ("MODEL.WEIGHTS", lesions / "model_final.pth"), classes / "model_final.pth"
    commands = [
        stage_1,
        [*stage_2, classes, *first],
        ["--eval-only", *stage_2, tmp_path / "again", "MODEL.WEIGHTS", last],
    ]
    commands = json.dumps([list(map(str, command)) for command in commands])
    command = [sys.executable, "-c", PLAIN, ROOT / "tools/train_net.py", commands]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    for folder in (lesions, classes, tmp_path / "again"):
        assert (folder / "results.json").is_file() and list(folder.glob("inference/*/*.png"))
