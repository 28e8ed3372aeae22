"""The whole demo, with little of everything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ctmasknet.data.phantom import write_phantom

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "ctmasknet", "demo"]
SMALL = """INPUT.MIN_SIZE_TRAIN (64,) INPUT.MIN_SIZE_TEST 64 SOLVER.MAX_ITER 4 TEST.EVAL_PERIOD 2
MODEL.RPN.POST_NMS_TOPK_TRAIN 50 MODEL.RPN.POST_NMS_TOPK_TEST 30 DATALOADER.NUM_WORKERS 0"""


@pytest.mark.slow
def test_demo_leaves_numbers_and_pictures(tmp_path):
    write_phantom(tmp_path / "data" / "phantom", patients=9, slices=2, size=128, split=(1, 1, 1))
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "ctmasknet",
            "demo",
            "--output",
            str(tmp_path / "out"),
            *SMALL.split(),
        ],
        cwd=ROOT,
        env=os.environ
        | {
            "DETECTRON2_DATASETS": str(tmp_path / "data"),
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
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert set(summary["sensitivity"]) == {"Control", "Common Pneumonia", "COVID-19"}
    for key in ("slice_accuracy", "histogram_accuracy", "lesion_per_image_mAP", "lesion_segm_AP50"):
        assert 0 <= summary[key] <= 1
    assert list(summary["seconds"]) == [
        "phantoms",
        "histogram",
        "lesion_model",
        "ct_mask_net",
        "pictures",
    ]
