"""Training and evaluation, where no extra is installed."""

import json
import subprocess
import sys

import pytest

from ctmasknet.data.phantom import write_phantom
from ctmasknet.extras import EXTRAS

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

SMALL = [
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64", "SOLVER.IMS_PER_BATCH", "2"),
    *("SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "()", "DATALOADER.NUM_WORKERS", "0"),
    *("MODEL.RPN.POST_NMS_TOPK_TEST", "30", "MODEL.RANKED_BOXES.NUM", "8", "MODEL.DEVICE", "cpu"),
    *("TEST.BOOTSTRAP_RESAMPLES", "20", "TEST.DETECTIONS_PER_IMAGE", "10"),
]
# Runs several commands of `ctmasknet` in a Python that has none of the modules.
PLAIN = f"""
import json, sys
sys.modules.update(dict.fromkeys({sorted(sum(EXTRAS.values(), ()))}))
from ctmasknet.__main__ import main
for command in json.loads(sys.argv[1]):
    try:
        main(command)
    except SystemExit as ended:
        assert not ended.code, command
"""


def test_both_stages_are_trained_and_evaluated(tmp_path):
    data = tmp_path / "phantom"
    write_phantom(data, patients=9, slices=2, size=96, split=(1, 1, 1))
    lesions, classes = tmp_path / "lesions", tmp_path / "classes"
    again, files = tmp_path / "again", tmp_path / "files"

    def datasets(kind):
        parts = {"--train": "train", "--validation": "val", "--test": "test"}
        return [x for key, part in parts.items() for x in (key, data / kind.format(part))]

    commands = [
        ["info"],
        ["train", "lesion_R18_T1", *datasets("lesion_merge_{}.json"), "--output", lesions, *SMALL],
        ["train", "ctmasknet_R18_T1", "--weights", lesions / "model_final.pth", "--output", classes]
        + [*datasets("{}.csv"), *SMALL],
        ["evaluate", "--model", classes, "--dataset", data / "test.csv", "--output", again],
        ["evaluate", "--predictions", again / "inference/test/predictions.csv", "--output", files],
    ]
    words = json.dumps([list(map(str, command)) for command in commands])
    process = subprocess.run([sys.executable, "-c", PLAIN, words], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    for folder in (lesions, classes, again):
        assert (folder / "results.json").is_file()
    for folder in (lesions / "inference/lesion_merge_test", classes / "inference/test", files):
        assert (folder / "results.json").is_file() and list(folder.glob("*.png"))
