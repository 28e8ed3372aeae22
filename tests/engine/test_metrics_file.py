"""metrics.json is lines of valid JSON, after NaN, kills and full disks too."""

import json
import math
from pathlib import Path

import pytest
from detectron2.utils.events import EventStorage

from ctmasknet.engine.metrics_file import METRICS, MetricsWriter, keep_lines_before


def lines(folder):
    def refuse(name):
        raise ValueError(name)

    text = (folder / METRICS).read_text()
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def write(folder, *steps, start=0):
    with EventStorage(start) as storage:
        writer = MetricsWriter(folder)
        for values in steps:
            storage.put_scalars(smoothing_hint=False, **values)
            writer.write()
            storage.step()


def test_numbers_without_a_value_are_null(tmp_path):
    write(tmp_path, {"loss": 1.5, "AP": math.nan}, {"loss": math.inf})
    first, second = lines(tmp_path)
    assert first == {"iteration": 0, "loss": 1.5, "AP": None}
    assert second == {"iteration": 1, "loss": None}


def test_a_resumed_run_writes_its_lines_once(tmp_path):
    write(tmp_path, *({"loss": float(i), "image/accuracy": 0.5} for i in range(5)))
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"iteration": 5, "lo')
    keep_lines_before(tmp_path, 3)
    write(tmp_path, {"loss": 30.0}, start=3)
    assert [x["iteration"] for x in lines(tmp_path)] == [0, 1, 2, 3]
    assert lines(tmp_path)[1] == {"image/accuracy": 0.5, "iteration": 1, "loss": 1.0}
    assert lines(tmp_path)[2] == {"iteration": 2, "loss": 2.0}  # is evaluated anew
    assert lines(tmp_path)[3]["loss"] == 30


def test_a_new_run_keeps_the_whole_lines_of_an_earlier_one(tmp_path):
    keep_lines_before(tmp_path, 0)
    write(tmp_path, {"loss": 1.0})
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"half')
    keep_lines_before(tmp_path, 0)
    assert lines(tmp_path) == [{"iteration": 0, "loss": 1.0}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_an_error(tmp_path):
    (tmp_path / METRICS).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, {"loss": 1.0})
