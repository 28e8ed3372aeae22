"""The command line of tools/benchmark.py."""

import json
from contextlib import nullcontext

import pytest
from benchmark import command, short_set
from benchmark.arguments import parse_args
from benchmark.command import run
from benchmark.rounds import Measurement

from ctmasknet.config import get_cfg


@pytest.mark.parametrize("arguments", [[], ["--out", "x"], ["short"]])
def test_the_short_set_is_the_default(arguments):
    assert parse_args("", arguments).command == "short"


def test_every_combination_is_run(tmp_path, monkeypatch, capsys):
    asked = []

    def instead(case, contenders, repeats, stages):
        asked.append((case.task, case.batch, case.side, case.opts, repeats, stages))
        return [Measurement(case, contender, [0.5]) for contender in contenders]

    monkeypatch.setattr(command, "measure", instead)
    line = "training --batch 1 2 --side 64 96 --repeats 4 --precision float32 bfloat16 --peers"
    run(parse_args("", [*line.split(), "--out", str(tmp_path), "--", "SEED", "1"]))
    shared = ("SEED", "1"), 4, False
    assert asked == [("training", batch, side, *shared) for batch in (1, 2) for side in (64, 96)]
    assert (tmp_path / "benchmark.json").is_file()
    printed = capsys.readouterr().out
    assert printed.count("ctmasknet    bfloat16") == 4


@pytest.mark.parametrize("error", ["", "ValueError: no"])
def test_the_short_set_fails_where_a_contender_does(error, tmp_path, monkeypatch, capsys):
    def instead(case, contenders, *_, **__):
        failed = error if case.task == "rows" else ""
        return [Measurement(case, contender, [0.5], error=failed) for contender in contenders]

    for module in (command, short_set):
        monkeypatch.setattr(module, "measure", instead)
    args = parse_args("", ["--out", str(tmp_path)])
    said = pytest.raises(ValueError, match="^ctmasknet, R18_T1_heads rows.*: ValueError: no$")
    with said if error else nullcontext():
        run(args)
    report = json.loads((tmp_path / "benchmark.json").read_text())["metrics"]
    assert len(report["groups"]) == 6
    assert ("failed" in report) == bool(error) != ("heads_training_computed" in report)
    assert ("computed from" in capsys.readouterr().out) != bool(error)


def test_a_config_that_is_not_there_is_the_users_error(tmp_path):
    args = parse_args("", ["inference", "--config-file", "R81.yaml", "--out", str(tmp_path)])
    with pytest.raises(FileNotFoundError, match="R81.yaml: no such config file"):
        run(args)
    assert not (tmp_path / "benchmark.json").exists()


def test_unknown_words_are_refused(capsys):
    with pytest.raises(SystemExit):
        parse_args("", ["inference", "--peers", "mmdetection"])
    assert "torchvision" in capsys.readouterr().err


def test_throughput_has_one_setting():
    args = parse_args("", ["throughput", "--slices", "5", "--precision", "float32"])
    assert (args.slices, args.precision, args.batch, args.side) == (5, "float32", 8, 512)


def test_heads_are_the_papers_by_default():
    args = parse_args("", ["heads"])
    assert (args.slices, args.epochs, args.batch) == (3000, 50, 8)
    assert args.config_file.endswith("configs/ctmasknet/R18_T1_heads.yaml")


@pytest.mark.parametrize("name", ["more.csv", "it's"])
def test_agreement_on_another_data_set(name, tmp_path, monkeypatch):
    asked = []

    def instead(run, precisions, opts):
        cfg = get_cfg()
        cfg.merge_from_list(opts)
        asked.append((str(run), precisions, cfg.DATASETS.TEST))
        return {"run": str(run), "dataset": name, "metrics": {}, "same_class": {}}

    monkeypatch.setattr(command, "measure_agreement", instead)
    out = ["--out", str(tmp_path)]
    run(parse_args("", ["agreement", "a", "b", "--dataset", name, *out]))
    run(parse_args("", ["agreement", "a", *out]))
    both = ["float32", "bfloat16"]
    assert asked == [("a", both, (name,)), ("b", both, (name,)), ("a", both, ())]
