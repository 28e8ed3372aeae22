"""The whole demo, with little of everything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog

from ctmasknet.commands.demo import Demo
from ctmasknet.data.phantom import write_phantom

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "ctmasknet", "demo"]
SMALL = """INPUT.MIN_SIZE_TRAIN (64,) INPUT.MIN_SIZE_TEST 64 SOLVER.MAX_ITER 4 TEST.EVAL_PERIOD 2
MODEL.RPN.POST_NMS_TOPK_TRAIN 50 MODEL.RPN.POST_NMS_TOPK_TEST 30 DATALOADER.NUM_WORKERS 0"""


def test_the_registered_phantoms_unless_quick(tmp_path):
    assert Demo(tmp_path)._data("{}.csv") == ["phantom_train", "phantom_val", "phantom_test"]
    lesions = Demo(tmp_path)._data("lesion_merge_{}.json")
    assert lesions[2] == "phantom_lesion_merge_test" and set(lesions) <= set(DatasetCatalog.list())
    quick = Demo(tmp_path, quick=True)._data("{}.csv")
    assert quick[0] == str(tmp_path / "phantom" / "train.csv")


@pytest.mark.slow
def test_demo_leaves_numbers_and_pictures(tmp_path):
    root = tmp_path / "out" / "phantom"
    write_phantom(root, patients=9, slices=2, size=128, split=(1, 1, 1))
    process = subprocess.run(
        [*DEMO, "--quick", "--output", str(tmp_path / "out"), *SMALL.split()],
        cwd=tmp_path,
        env=os.environ
        | {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert "is there already and is used as it is" in process.stdout
    assert "true COVID-19" in process.stdout and "not for diagnosis" in process.stdout
    pictures = {p.name for p in (tmp_path / "out").glob("*.png")}
    assert pictures == {
        "confusion_matrix.png",
        "slice_COVID_19.png",
        "slice_Common_Pneumonia.png",
        "slice_Control.png",
    }
    assert process.stdout.count("its numbers mean nothing") == 2  # first and last
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert "its numbers mean nothing" in summary["notice"]
    assert set(summary["sensitivity"]) == {"Control", "Common Pneumonia", "COVID-19"}
    for key in ("slice_accuracy", "histogram_accuracy", "lesion_per_image_mAP", "lesion_segm_AP50"):
        assert 0 <= summary[key] <= 1
    assert list(summary["seconds"]) == [
        "phantoms",
        "histogram",
        "lesion_model",
        "ct_mask_net",
        "pictures",
        "shipped_model",
    ]
