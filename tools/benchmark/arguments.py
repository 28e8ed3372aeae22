"""The command line of tools/benchmark.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ctmasknet.command_line import new_parser

from .ablation import COLUMNS, acceleration_names
from .settings import PEERS, TORCHVISION
from .short_set import CLASSIFIER, EPOCHS, HEADS, IMAGES
from .slice_files import SIDE
from .throughput import TEST_SLICES

_OUT = Path("output/benchmark")
_PRECISIONS = "default: float32, and what the hardware is better at"


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
    short = _add(commands, "short", "R18_T1 beside torchvision; the default")
    _add_machine(short, None)
    for task in ("inference", "training"):
        command = _add(commands, task, f"{task} of any config; every combination is run")
        _add_settings(command, "+")
        _add_rounds(command, "+", repeats=5)
        command.add_argument("--stages", action="store_true", help="also the time by stage")
    growth = _add(commands, "growth", "images/s over batch, threads, N and side")
    _add_settings(growth)
    _add_rounds(growth, repeats=3)
    throughput = _add(commands, "throughput", "a test set from PNG files on disk")
    _add_files(throughput, TEST_SLICES)
    heads = _add(commands, "heads", "all epochs of a training of the image head")
    _add_files(heads, IMAGES, HEADS)
    heads.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    budget = _add(commands, "budget", "work by stage, the machine's floor, and the time")
    _add_settings(budget)
    _add_rounds(budget, repeats=1)
    _add_ablation(_add(commands, "ablation", "without each acceleration, and it alone"))
    agreement = _add(commands, "agreement", "answers of trained models by precision")
    agreement.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="output folders")
    agreement.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    agreement.add_argument("--dataset", help="name or path; default: the run's own test set")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not {*commands.choices, "-h", "--help"} & {*arguments[:1]}:
        arguments = ["short", *arguments]
    return parser.parse_args(arguments)


def _add(commands: argparse._SubParsersAction, name: str, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
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
    command.add_argument("--precision", nargs="+", help=_PRECISIONS)
    command.add_argument("--peers", nargs="*", choices=PEERS, default=[TORCHVISION])
    command.add_argument("--repeats", type=int, default=repeats, help="default: %(default)s")


def _add_ablation(command: argparse.ArgumentParser) -> None:
    names = acceleration_names()
    command.add_argument("--tasks", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    command.add_argument("--precision", nargs="+", help=_PRECISIONS)
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
