"""Tables, the figure of growth and benchmark.json."""

import json
from dataclasses import replace

import cv2
import pytest
from benchmark.growth import SERIES, measure_growth, save_growth
from benchmark.rounds import Measurement
from benchmark.settings import Case, Contender
from benchmark.short_set import describe_heads, heads_estimate
from benchmark.table import as_record, stage_table, time_table, write_report

CASE = Case("inference", "configs/R18_T1.yaml", batch=2)
OURS, PEER = Contender("ctmasknet", "bfloat16"), Contender("torchvision")


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_line_for_each_contender():
    group = [
        Measurement(CASE, OURS, [0.1, 0.1, 0.1], peak_memory_mb=120.4),
        Measurement(CASE, PEER, [0.4, 0.5, 0.6], peak_memory_mb=None),
    ]
    title, _, _, ours, peer = time_table(group).splitlines()
    assert title.startswith("R18_T1 inference, batch 2, 512 x 512, N 128")
    assert title.endswith("random weights")
    assert cells(ours) == ["ctmasknet", "bfloat16", "50.0", "50.0 - 50.0", "20.00", "5.00", "120"]
    assert cells(peer) == ["torchvision", "float32", "250.0", "225.0 - 275.0", "4.00", "1.00"]


def test_a_failure_says_why_below_the_table():
    *_, row, reason = time_table([Measurement(CASE, OURS, error="ValueError: no")]).splitlines()
    assert cells(row) == ["ctmasknet", "bfloat16", "failed"]
    assert reason == "ctmasknet bfloat16: ValueError: no"


def test_stages_are_per_image_with_their_share():
    text = stage_table(Measurement(CASE, OURS, stages={"backbone": 0.03, "other": 0.01}))
    *_, backbone, other = text.splitlines()
    assert backbone.split() == ["backbone", "15.00", "75%"]
    assert other.split() == ["other", "5.00", "25%"]


def test_report_has_every_time_and_where_it_was_measured(tmp_path):
    record = as_record(Measurement(CASE, OURS, [0.2, 0.4]))
    path = write_report(tmp_path / "new", {"groups": [[record]]})
    found = json.loads(path.read_text())
    kept = found["metrics"]["groups"][0][0]
    assert kept["seconds"] == [0.2, 0.4] and kept["case"]["batch"] == 2
    assert kept["ms_per_image"] == pytest.approx({"q25": 125, "median": 150, "q75": 175})
    assert {"command", "machine", "versions"} <= found.keys()
    assert found["machine"]["cores"] >= 1


def test_heads_estimate_is_one_pass_and_fifty_epochs():
    rows, peer = replace(CASE, task="rows"), replace(CASE, task="training")
    parts = (
        Measurement(CASE, OURS, [0.2]),  # 0.1 s an image
        Measurement(rows, OURS, [0.002]),  # 0.001 s an image
        Measurement(peer, PEER, [0.8]),  # 0.4 s an image
    )
    found = heads_estimate(*parts)
    assert found["ctmasknet_seconds"] == pytest.approx(3000 * 0.1 + 50 * 3000 * 0.001)
    assert found["torchvision_seconds"] == pytest.approx(50 * 3000 * 0.4)
    assert found["times_faster"] == pytest.approx(60000 / 450)
    assert "computed from the steps above, not run: 450 s" in describe_heads(found)


def test_growth_measures_equal_settings_once(tmp_path, monkeypatch):
    asked = []

    def instead(case, contenders, repeats):
        asked.append(case)
        return [Measurement(case, contender, [0.1] * repeats) for contender in contenders]

    monkeypatch.setattr("benchmark.growth.measure", instead)
    groups = measure_growth(replace(CASE, batch=8), [OURS, PEER], 2)
    assert [[len(group) for group in series] for series in groups.values()] == [
        [2] * len(values) for values in SERIES.values()
    ]
    assert len(asked) == len(set(asked)) == sum(map(len, SERIES.values())) - 3
    save_growth(tmp_path / "growth.png", groups)
    assert cv2.imread(str(tmp_path / "growth.png")).std() > 0
