"""Which networks an ablation compares, and what comes of their times."""

import json
import math
from functools import partial

import pytest
from benchmark import ablation, command
from benchmark.ablation import (
    COLUMNS,
    TOGETHER,
    describe_ablation,
    failures,
    measure_ablation,
    plan_ablation,
)
from benchmark.arguments import parse_args
from benchmark.command import run
from benchmark.settings import MALLOC, Case
from benchmark.worker import PEAK, ContenderError

CASES = {"classification": Case("inference", "R18.yaml", batch=2)}
GAIN = {"fast_roi_align": 4.0, "fast_nms": 1.25, MALLOC: 2.0}


class Scripted:
    """A worker whose step takes 10 s, less for each acceleration that it has."""

    started: list = []

    def __init__(self, case, contender):
        self.chosen = set(contender.accelerations)
        self.started.append(contender)

    def ask(self, order):
        if order == PEAK:
            return 100.0 - 10 * (MALLOC in self.chosen)
        return 10 / math.prod(GAIN[name] for name in self.chosen)

    def close(self):
        pass


@pytest.fixture(autouse=True)
def two_accelerations(monkeypatch):
    monkeypatch.setattr(ablation, "ACCELERATIONS", dict.fromkeys(["fast_roi_align", "fast_nms"]))
    Scripted.started = []


def test_each_is_left_out_and_each_is_alone():
    groups = plan_ablation(CASES, ["float32", "bfloat16"], list(GAIN), at_once=3)
    assert len({id(group.column) for group in groups}) == 2
    assert max(len(group.contenders) for group in groups) == 3
    first = [group for group in groups if group.column is groups[0].column]
    every = tuple(GAIN)
    assert [group.contenders[""].accelerations for group in first] == [every, every, (), ()]
    chosen = {
        (group.table, name): set(contender.accelerations)
        for group in first
        for name, contender in group.contenders.items()
        if name
    }
    assert chosen == {
        **{("without", name): {*GAIN} - {name} for name in GAIN},
        **{("alone", name): {name} for name in GAIN},
        ("without", TOGETHER): set(),
    }
    assert {group.contenders[""].precision for group in groups} == {"float32", "bfloat16"}


@pytest.mark.parametrize("at_once", [2, 8])
def test_ratios_are_gains(at_once):
    groups = plan_ablation(CASES, ["float32"], list(GAIN), at_once)
    (column,) = measure_ablation(groups, 3, 1.0, start=Scripted)
    assert column.values["without"] == pytest.approx(GAIN | {TOGETHER: 10.0})
    assert column.values["alone"] == pytest.approx(GAIN)
    assert column.values["memory"] == {
        **{"fast_roi_align": 0.0, "fast_nms": 0.0},
        **{MALLOC: 10.0, TOGETHER: 10.0},
    }
    cells = [line.replace("|", "").split() for line in describe_ablation([column]).splitlines()]
    assert ["fast", "nms", "**1.25**"] in cells and ["malloc", "10"] in cells
    order = [" ".join(row[:-1]) for row in cells if row and row[-1].startswith("**")]
    assert order == ["fast roi align", "fast nms", "malloc", TOGETHER] + order[:3]
    assert failures([column]) == []


def test_a_failure_is_named_and_leaves_the_others_alone():
    class Failing(Scripted):
        def ask(self, order):
            if self.chosen == {"fast_nms"}:
                raise ContenderError("no")
            return super().ask(order)

    groups = plan_ablation(CASES, ["float32"], list(GAIN), at_once=8)
    (column,) = measure_ablation(groups, 3, 1.0, start=Failing)
    assert math.isnan(column.values["alone"]["fast_nms"])
    assert column.values["alone"]["fast_roi_align"] == 4.0
    (line,) = failures([column])
    assert line.endswith("('fast_nms',): no") and line in describe_ablation([column])


def test_what_cannot_be_planned():
    with pytest.raises(ValueError, match="fast_mns.*fast_nms"):
        plan_ablation(CASES, ["float32"], ["fast_mns"], at_once=8)
    with pytest.raises(ValueError, match="--at-once is 1"):
        plan_ablation(CASES, ["float32"], list(GAIN), at_once=1)


def test_the_command_writes_every_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "measure_ablation", partial(measure_ablation, start=Scripted))
    line = "ablation --quick --tasks lesion-training classification --precision float32"
    run(parse_args("", [*line.split(), "--out", str(tmp_path)]))
    printed = capsys.readouterr().out
    assert "18 networks in 4 groups, one round" in printed
    assert "lesion training, float32" in printed and "bfloat16" not in printed
    report = json.loads((tmp_path / "benchmark.json").read_text())["metrics"]
    lesion, classification = report["ablation"]
    assert lesion["case"].startswith("R18_T1 training, batch 1, 64 x 64")
    assert classification["case"].startswith("R18_T1_heads_BN inference, batch 2, 64 x 64")
    assert all(len(m["seconds"]) == 1 for m in lesion["measurements"])


@pytest.mark.slow
def test_networks_with_and_without_run(tmp_path, monkeypatch):
    """In processes of their own, with the accelerations that there are."""
    monkeypatch.undo()
    name = next(iter(ablation.ACCELERATIONS))
    line = f"ablation --quick --tasks {next(iter(COLUMNS))} --precision float32 --threads 1"
    run(parse_args("", [*line.split(), "--accelerations", name, "--out", str(tmp_path)]))
    (column,) = json.loads((tmp_path / "benchmark.json").read_text())["metrics"]["ablation"]
    assert column["values"]["without"].keys() == {name, TOGETHER}
    assert column["values"]["alone"].keys() == {name}
    assert all(ratio > 0 for ratio in column["values"]["without"].values())
