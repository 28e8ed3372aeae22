"""Evaluation in two processes of a number of slices that two does not divide."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from two_processes import evaluate

from ctmasknet.data.phantom import write_phantom
from ctmasknet.engine import load_config, read_results

TESTS = Path(__file__).parents[1]
DATASETS = {"lesion_R18_T1": "nine_lesions.json", "ctmasknet_R18_T1": "nine_slices.csv"}
SMALL = {
    "INPUT.MIN_SIZE_TEST": "64",
    "DATALOADER.NUM_WORKERS": "0",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "30",
    "MODEL.RANKED_BOXES.NUM": "8",
    "MODEL.IMAGE_HEAD.FC_DIM": "8",
    "TEST.DETECTIONS_PER_IMAGE": "10",
    "TEST.IMS_PER_BATCH": "1",
    "TEST.BOOTSTRAP_RESAMPLES": "20",
    "DATASETS.TRAIN": "()",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Number of processes -> output folder, in which each config has one of its own."""
    root = tmp_path_factory.mktemp("processes")
    write_phantom(root / "data", patients=15, slices=1, size=96, split=(1, 1, 3))
    # Renamed, as a name is taken once in a process.
    for old, new in zip(("lesion_merge_test.json", "test.csv"), DATASETS.values(), strict=True):
        (root / "data" / old).rename(root / "data" / new)
    (root / "data/val.csv").rename(root / "data/three_slices.csv")
    commands = {1: [], 2: []}
    for config, dataset in DATASETS.items():
        opts = [*itertools.chain(*SMALL.items())]
        opts += ["DATASETS.TEST", f"('{root / 'data' / dataset}',)", "DATASETS.VALIDATION"]
        opts.append(f"('{root / 'data' / 'three_slices.csv'}',)" if "ctmasknet" in config else "()")
        file = str(TESTS.parent / "configs/quick" / f"{config}.yaml")
        torch.manual_seed(3)
        model = build_model(load_config(file, [*opts, "OUTPUT_DIR", str(root)]))
        weights = root / f"{config}.pth"
        torch.save({"model": model.state_dict()}, weights)
        for count, mine in commands.items():
            output = ["OUTPUT_DIR", str(root / str(count) / config)]
            mine.append(["--config-file", file, *opts, "MODEL.WEIGHTS", str(weights), *output])
            mine[-1].insert(2, "--eval-only")
    command = [sys.executable, str(TESTS / "two_processes.py"), json.dumps(commands[2])]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **pipes) as two:
        evaluate(commands[1])
        output, _ = two.communicate()
    assert two.returncode == 0, output
    return {count: root / str(count) for count in commands}


@pytest.mark.parametrize("config", DATASETS)
def test_two_processes_give_the_numbers_of_one(config, folders):
    name = Path(DATASETS[config]).stem
    one, two = (folders[count] / config / "inference" / name for count in (1, 2))
    results, others = (read_results(folder / "results.json") for folder in (one, two))
    assert (results["machine"]["processes"], others["machine"]["processes"]) == (1, 2)
    assert results["dataset"]["images"] == 9  # four in one process, five in the other
    for key in ("dataset", "metrics", "intervals", "weights_sha256", "settings", "warnings"):
        assert results[key] == others[key]
    if config.startswith("ctmasknet"):
        assert results["calibration"]["fitted_on"]["images"] == 3
        for key in ("calibration", "operating_points", "aggregation"):
            assert results[key] == others[key]
    for file in one.iterdir():
        if file.suffix in (".csv", ".json") and file.name != "results.json":
            assert file.read_text() == (two / file.name).read_text()
            assert file.stat().st_size > 100
