"""Made-up files, and the way from them to an answer."""

import cv2
import numpy as np
import pytest
from benchmark.settings import Case
from benchmark.slice_files import SLICE_LIST, write_slices
from benchmark.throughput import (
    WaitingLoader,
    describe_throughput,
    measure_throughput,
)
from detectron2.data import DatasetCatalog
from tiny_models import CONFIG_FOLDER

from ctmasknet.data.image_lists import load_image_list


@pytest.fixture(autouse=True)
def small_slices(monkeypatch):
    monkeypatch.setattr("benchmark.slice_files.SIDE", 64)


def test_no_two_files_are_alike(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.slice_files._DRAWN", 8)
    path = write_slices(tmp_path / "slices", 18)
    records = load_image_list(path)
    images = [cv2.imread(record["file_name"], cv2.IMREAD_UNCHANGED) for record in records]
    assert len(records) == 18 and images[0].shape == (64, 64, 3)
    assert len({image.tobytes() for image in images}) == 18
    assert np.array_equal(np.roll(images[1], 1, axis=0), images[9])  # drawn once, shifted by one
    before = (tmp_path / "slices" / "00000.png").stat().st_mtime_ns
    assert write_slices(tmp_path / "slices", 18) == path
    assert (tmp_path / "slices" / "00000.png").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="lists 18 slices, not 20"):
        write_slices(tmp_path / "slices", 20)
    assert path.name == SLICE_LIST


def test_the_loader_passes_everything_on():
    loader = WaitingLoader([1, 2, 3])
    assert len(loader) == 3 and list(loader) == [1, 2, 3] and loader.seconds > 0


def test_throughput(tmp_path):
    opts = ("DATALOADER.NUM_WORKERS", "0", "MODEL.RPN.PRE_NMS_TOPK_TEST", "50")
    opts = (*opts, "INPUT.MIN_SIZE_TEST", "64")
    path = str(CONFIG_FOLDER / "ctmasknet" / "R18_T1_heads_BN.yaml")
    case = Case("inference", path, batch=2, threads=1, opts=opts)
    found = measure_throughput(case, "float32", 3, tmp_path / "slices")
    assert found["slices"] == 3 and found["seconds"] > found["waiting_seconds"] > 0
    assert found["bytes_per_slice"] > 1000
    assert "benchmark_slices" not in DatasetCatalog
    lesion = Case("inference", str(CONFIG_FOLDER / "lesion" / "R18_T1.yaml"))
    with pytest.raises(ValueError, match="give it a CT-Mask-Net"):
        measure_throughput(lesion, "float32", 3, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with pytest.raises(ValueError, match="--slices is 0"):
        measure_throughput(case, "float32", 0)


def test_shares_are_of_the_right_whole():
    case = Case("inference", "R18.yaml")
    text = describe_throughput(
        {
            **{"case": case, "precision": "float32", "workers": 2, "slices": 100, "cores": 2},
            **{"bytes_per_slice": 150e3, "seconds": 20.0, "slices_per_second": 5.0},
            **{"waiting_seconds": 5.0, "decode_seconds": 0.04},
        }
    )
    assert "100 slices of 150 kB" in text and "20.0 s in all: 5.0 slices/s" in text
    assert "waited for the loader 5.0 s (25.0%)" in text and "75.0%, is the network" in text
    assert "40.0 ms of CPU time a slice: 4.0 s, 10.0% of what 2 cores have" in text
