"""What the commands of tools/benchmark.py do and print."""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from ctmasknet.provenance import machine

from .ablation import COLUMNS, describe_ablation, failures, measure_ablation, plan_ablation
from .agreement import describe_agreement, measure_agreement
from .budget import describe_budget, measure_budget
from .growth import measure_growth, save_growth
from .heads import describe_heads_run, measure_heads
from .rounds import Measurement, measure
from .settings import Case, Contender, best_precisions, config_of, contenders
from .short_set import (
    BUDGET,
    describe_heads,
    heads_estimate,
    heads_parts,
    measure_case,
    short_cases,
)
from .table import as_record, stage_table, time_table, write_report
from .throughput import describe_throughput, measure_throughput

_QUICK = ("MODEL.RPN.PRE_NMS_TOPK_TEST", "50", "MODEL.RPN.PRE_NMS_TOPK_TRAIN", "50")


def run(args: argparse.Namespace) -> None:
    """Do what the command line says; print tables and write benchmark.json."""
    about = machine()
    print(
        f"{shlex.join(sys.argv)}\n{about['processor']}, {about['cores']} cores, GPU {about['gpu']}"
    )
    print(f"torch {torch.__version__}; a step of each in turns; quartiles over the rounds\n")
    report = _COMMANDS[args.command](args)
    print(f"\n{write_report(args.out, report)}")
    if failed := report.get("failed"):
        raise ValueError("; ".join(failed))


def _short(args: argparse.Namespace) -> dict[str, Any]:
    setting = args.threads, args.device
    groups = [_show(measure_case(case)) for case in short_cases(*setting)]
    groups += [_show(measure(*part, budget=BUDGET)) for part in heads_parts(*setting)]
    report = _records(groups)
    failed = [f"{m.contender.name}, {m.case.text}: {m.error}" for m in sum(groups, []) if m.error]
    if failed:
        return {**report, "failed": failed}
    (inference, *_), *_, (rows,), (peer,) = groups
    estimate = heads_estimate(inference, rows, peer)
    print(describe_heads(estimate))
    return {**report, "heads_training_computed": estimate}


def _free(args: argparse.Namespace) -> dict[str, Any]:
    lists = (args.config_file, args.batch, args.side, args.threads, args.device, args.num_ranked)
    cases = [
        Case(args.command, *values, args.images, tuple(args.opts))
        for values in itertools.product(*lists)
    ]
    for case in cases:
        config_of(case)  # an error in it is raised now, not once per contender
    groups = []
    for case in cases:
        found = measure(case, _contenders(args, case), args.repeats, stages=args.stages)
        groups.append(_show(found))
    return _records(groups)


def _growth(args: argparse.Namespace) -> dict[str, Any]:
    case = _case(args)
    config_of(case)
    groups = measure_growth(case, _contenders(args, case), args.repeats, _show)
    save_growth(args.out / "growth.png", groups)
    print(args.out / "growth.png")
    return {name: _records(series)["groups"] for name, series in groups.items()}


def _throughput(args: argparse.Namespace) -> dict[str, Any]:
    case = _case(args)
    precision = args.precision or best_precisions(case.device)[-1]
    found = measure_throughput(case, precision, args.slices, args.folder)
    print(describe_throughput(found))
    return found


def _heads(args: argparse.Namespace) -> dict[str, Any]:
    case = _case(args, "training")
    precision = args.precision or best_precisions(case.device)[-1]
    found = measure_heads(case, precision, args.slices, args.epochs, args.folder)
    print(describe_heads_run(found))
    return found


def _budget(args: argparse.Namespace) -> dict[str, Any]:
    case, found = _case(args), []
    for precision in args.precision or best_precisions(case.device):
        found.append(measure_budget(case, precision))
        print(f"{describe_budget(found[-1])}\n", flush=True)
    return {"budget": found}


def _ablation(args: argparse.Namespace) -> dict[str, Any]:
    side, rounds, opts = args.side, args.rounds, tuple(args.opts)
    if args.quick:
        side, rounds, opts = 64, 1, (*_QUICK, *opts)
    cases = {}
    for name in args.tasks:
        task, config, batch = COLUMNS[name]
        cases[name] = Case(
            *(task, config, batch or args.batch, side, args.threads, args.device), opts=opts
        )
    precisions = args.precision or best_precisions(args.device)
    contenders(precisions, [], args.device)  # refuses what cannot be
    groups = plan_ablation(cases, precisions, args.accelerations, args.at_once)
    networks = sum(len(group.contenders) for group in groups)
    print(f"{networks} networks in {len(groups)} groups", end="")
    print(", one round" if args.quick else f": about {args.minutes:g} minutes", flush=True)
    columns = measure_ablation(groups, rounds, 60 * args.minutes)
    print(f"\n{describe_ablation(columns)}")
    failed = failures(columns)
    found = [{**asdict(column), "case": column.case.text} for column in columns]
    return {"ablation": found, **({"failed": failed} if failed else {})}


def _agreement(args: argparse.Namespace) -> dict[str, Any]:
    found = []
    opts = ["DATASETS.TEST", f"({args.dataset!r},)"] if args.dataset else []
    for run in args.runs:
        found.append(measure_agreement(run, args.precision, opts))
        print(f"{describe_agreement(found[-1])}\n", flush=True)
    return {"agreement": found}


def _case(args: argparse.Namespace, task: str = "inference") -> Case:
    return Case(
        *(task, args.config_file, args.batch, args.side, args.threads, args.device),
        *(args.num_ranked, args.images, tuple(args.opts)),
    )


def _contenders(args: argparse.Namespace, case: Case) -> list[Contender]:
    return contenders(args.precision or best_precisions(case.device), args.peers, case.device)


def _show(group: list[Measurement]) -> list[Measurement]:
    print(f"{time_table(group)}\n", flush=True)
    for measurement in group:
        if len(measurement.stages) > 1:  # peers mark none
            print(f"{stage_table(measurement)}\n", flush=True)
    return group


def _records(groups: Sequence[Sequence[Measurement]]) -> dict[str, Any]:
    return {"groups": [[as_record(m) for m in group] for group in groups]}


_COMMANDS = {
    "short": _short,
    "inference": _free,
    "training": _free,
    "growth": _growth,
    "throughput": _throughput,
    "heads": _heads,
    "budget": _budget,
    "ablation": _ablation,
    "agreement": _agreement,
}
