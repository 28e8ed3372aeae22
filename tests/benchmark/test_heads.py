"""A training of the image head, run and set beside the peer's steps."""

from dataclasses import replace

import pytest
from benchmark import heads
from benchmark.heads import describe_heads_run, measure_heads
from benchmark.rounds import Measurement
from benchmark.settings import Case
from detectron2.data import DatasetCatalog
from tiny_models import CONFIG_FOLDER

from ctmasknet.modeling import CTMaskNet

OPTS = (
    *("DATALOADER.NUM_WORKERS", "0", "MODEL.RPN.PRE_NMS_TOPK_TEST", "50"),
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64"),
)


def case(name):
    path = str(CONFIG_FOLDER / "ctmasknet" / f"{name}.yaml")
    return Case("training", path, batch=2, threads=1, opts=OPTS)


@pytest.fixture(autouse=True)
def small_slices(monkeypatch):
    monkeypatch.setattr("benchmark.slice_files.SIDE", 64)


def peer(seconds, error=""):
    return lambda case, contenders, _: [Measurement(case, contenders[0], seconds, error=error)]


def test_all_epochs_are_run_and_the_peers_computed(tmp_path, monkeypatch):
    passed, infer = [], CTMaskNet.inference

    def watched(self, batch, *args):
        passed.extend(batch)
        return infer(self, batch, *args)

    monkeypatch.setattr(CTMaskNet, "inference", watched)
    monkeypatch.setattr(heads, "measure", peer([1.0, 2.0, 9.0]))
    found = measure_heads(case("R18_T1_heads"), "float32", 3, 5, tmp_path)
    assert len(passed) == 3  # each image passes the network once
    assert found["iterations"] == 8  # 15 slices, two at a time
    assert found["seconds"] > found["rows_seconds"] > 0
    assert found["peer_seconds_per_image"] == 1.0 and found["peer_seconds"] == 15.0
    assert found["times_faster"] == 15 / found["seconds"]
    assert "benchmark_slices" not in DatasetCatalog


def test_what_cannot_be_measured_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(heads, "measure", peer([], "RuntimeError: no"))
    folder = tmp_path / "slices"
    flips = replace(case("R18_T1_heads"), opts=("INPUT.RANDOM_FLIP", "horizontal"))
    lesion = Case("training", str(CONFIG_FOLDER / "lesion" / "R18_T1.yaml"), batch=2)
    for wrong, said in (
        (case("R18_T1_heads_BN"), "give a config with MODEL.TRAINABLE heads"),
        (lesion, "give a config with MODEL.TRAINABLE heads"),
        (flips, "INPUT.RANDOM_FLIP is horizontal, so ranked rows change"),
        (case("R18_T1_heads"), "torchvision: RuntimeError: no"),
    ):
        with pytest.raises(ValueError, match=said):
            measure_heads(wrong, "float32", 3, 5, folder)
    with pytest.raises(ValueError, match="--epochs is 0"):
        measure_heads(case("R18_T1_heads"), "float32", 3, 0, folder)
    assert not folder.exists()


def test_rows_and_steps_are_told_apart():
    text = describe_heads_run(
        {
            **{"case": case("R18_T1_heads"), "precision": "float32", "slices": 100, "epochs": 50},
            **{"iterations": 2500, "seconds": 15.0, "rows_seconds": 10.0},
            **{"peer_seconds_per_image": 0.2, "peer_seconds": 1000.0, "times_faster": 66.7},
        }
    )
    assert "50 epochs of 100 slices" in text and "15 s, all of it run: 10 s for" in text
    assert "2500 steps of 2.0 ms" in text
    assert "200 ms an image" in text and "1000 s computed, not run: 67 times" in text
