"""tools/benchmark.py: arguments, and what is printed."""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ctmasknet.command_line import new_parser
from ctmasknet.provenance import machine

from .ablation import (
    COLUMNS,
    PRECISIONS,
    acceleration_names,
    describe_ablation,
    failures,
    measure_ablation,
    plan_ablation,
)
from .agreement import describe_agreement, measure_agreement
from .budget import describe_budget, measure_budget
from .growth import measure_growth, save_growth
from .heads import describe_heads_run, measure_heads
from .rounds import Measurement, measure
from .settings import (
    PEERS,
    TORCHVISION,
    Case,
    Contender,
    best_precisions,
    config_of,
    contenders,
)
from .short_set import (
    BUDGET,
    CLASSIFIER,
    EPOCHS,
    HEADS,
    IMAGES,
    describe_heads,
    heads_estimate,
    heads_parts,
    measure_case,
    short_cases,
)
from .slice_files import SIDE
from .table import as_record, stage_table, time_table, write_report
from .throughput import TEST_SLICES, describe_throughput, measure_throughput

_OUT = Path("output/benchmark")
_QUICK = ("MODEL.RPN.PRE_NMS_TOPK_TEST", "50", "MODEL.RPN.PRE_NMS_TOPK_TRAIN", "50")


def parse_args(
    description: str | None, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Read the command line; without a command it is "short".

    Args:
        description: of the tool.
        arguments: None for those of the process.
    """
    parser = new_parser(description)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    short = _add(commands, "short", _short, "R18_T1 beside torchvision; the default")
    _add_machine(short, None)
    for task in ("inference", "training"):
        command = _add(commands, task, _free, f"{task} of any config; every combination is run")
        _add_settings(command, "+")
        _add_rounds(command, "+", repeats=5)
        command.add_argument("--stages", action="store_true", help="also the time by stage")
    growth = _add(commands, "growth", _growth, "images/s over batch, threads, N and side")
    _add_settings(growth)
    _add_rounds(growth, repeats=3)
    throughput = _add(commands, "throughput", _throughput, "a test set from PNG files on disk")
    _add_files(throughput, TEST_SLICES)
    heads = _add(commands, "heads", _heads, "all epochs of a training of the image head")
    _add_files(heads, IMAGES, HEADS)
    heads.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    budget = _add(commands, "budget", _budget, "work by stage, the machine's floor, and the time")
    _add_settings(budget)
    _add_rounds(budget, repeats=1)
    _add_ablation(_add(commands, "ablation", _ablation, "without each acceleration, and it alone"))
    agreement = _add(commands, "agreement", _agreement, "answers of trained models by precision")
    agreement.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="output folders")
    agreement.add_argument("--precision", nargs="+", default=list(PRECISIONS))
    agreement.add_argument("--dataset", help="name or path; default: the run's own test set")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not {*commands.choices, "-h", "--help"} & {*arguments[:1]}:
        arguments = ["short", *arguments]
    return parser.parse_args(arguments)


def _add(
    commands: argparse._SubParsersAction, name: str, run: Callable, text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    command.add_argument(
        "--out", type=Path, default=_OUT, metavar="FOLDER", help="default: %(default)s"
    )
    return command


def _add_settings(
    command: argparse.ArgumentParser, nargs: str | None = None, config: str = CLASSIFIER
) -> None:
    """The settings of a case; with nargs "+" each may be a list."""
    _add_case(command, nargs, "--config-file", config, f"default: ctmasknet/{Path(config).stem}")
    _add_case(command, nargs, "--batch", 8, "images of a step; default: 8")
    _add_case(command, nargs, "--num-ranked", 128, "N; default: 128")
    _add_machine(command, nargs)
    _add_opts(command)


def _add_machine(command: argparse.ArgumentParser, nargs: str | None) -> None:
    _add_case(command, nargs, "--threads", torch.get_num_threads(), "default: one per core")
    _add_case(command, nargs, "--device", "cpu", "cpu, cuda, ...; default: cpu")


def _add_opts(command: argparse.ArgumentParser) -> None:
    command.add_argument("opts", nargs="*", metavar="KEY VALUE", help="of the config, after --")


def _add_files(command: argparse.ArgumentParser, slices: int, config: str = CLASSIFIER) -> None:
    """What a run from files on disk has."""
    _add_settings(command, config=config)
    command.set_defaults(side=SIDE, images=None)
    command.add_argument("--precision", help="default: what the hardware is best at")
    command.add_argument(
        "--slices", type=int, default=slices, help="to write and use; default: %(default)s"
    )
    command.add_argument("--folder", type=Path, help="for the files, and to keep them")


def _add_rounds(
    command: argparse.ArgumentParser, nargs: str | None = None, *, repeats: int
) -> None:
    """What only contenders that take turns have."""
    _add_case(command, nargs, "--side", SIDE, "of the images in pixels; default: 512")
    command.add_argument("--images", metavar="FOLDER", help="of PNG slices; default: random pixels")
    command.add_argument(
        "--precision", nargs="+", help="default: float32, and what the hardware is better at"
    )
    command.add_argument("--peers", nargs="*", choices=PEERS, default=[TORCHVISION])
    command.add_argument("--repeats", type=int, default=repeats, help="default: %(default)s")


def _add_ablation(command: argparse.ArgumentParser) -> None:
    names = acceleration_names()
    command.add_argument("--tasks", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    command.add_argument("--precision", nargs="+", default=list(PRECISIONS))
    command.add_argument(
        "--accelerations", nargs="+", choices=names, default=names, metavar="NAME",
        help=f"of {', '.join(names)}; default: all",
    )  # fmt: skip
    _add_case(command, None, "--batch", 2, "images of a step, but 1 in lesion training; default: 2")
    _add_case(command, None, "--side", SIDE, "of the images in pixels; default: 512")
    _add_machine(command, None)
    command.add_argument("--rounds", type=int, help="default: what the time allows, 3 to 15")
    _add_case(command, None, "--minutes", 10.0, "to aim at in all; default: 10")
    _add_case(command, None, "--at-once", 8, "processes that take turns; default: 8")
    command.add_argument("--quick", action="store_true", help="tiny images, one round: a trial")
    _add_opts(command)


def _add_case(
    command: argparse.ArgumentParser, nargs: str | None, name: str, default: Any, text: str
) -> None:
    kind = type(default)
    command.add_argument(
        name, type=kind, nargs=nargs, default=[default] if nargs else default, help=text
    )


def run(args: argparse.Namespace) -> None:
    """Do what the command line says; print tables and write benchmark.json."""
    about = machine()
    print(
        f"{shlex.join(sys.argv)}\n{about['processor']}, {about['cores']} cores, GPU {about['gpu']}"
    )
    print(f"torch {torch.__version__}; a step of each in turns; quartiles over the rounds\n")
    report = args.run(args)
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
    contenders(args.precision, [], args.device)  # unknown precisions are refused
    groups = plan_ablation(cases, args.precision, args.accelerations, args.at_once)
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
