"""`ctmasknet info`: versions, hardware, models and data sets at hand."""

import argparse
import json
import os
import re
import textwrap
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ..command_line import new_subparser
from ..data.builtin import datasets_root
from ..data.registration import registered_files
from ..fast.precision import choose_precision
from ..inference.model_spec import demo_folders, run_weights
from ..provenance import machine, versions
from ..shipped_configs import config_names
from ..shipped_models import model_names
from ..wording import NOTICE, counted
from .info_model import describe_model, gather_model

_DESCRIPTION = f"""Say what is here: versions, hardware, configs, models and data sets. {NOTICE}

  ctmasknet info
  ctmasknet info --json > here.json
  ctmasknet info lesions.safetensors      # what a model file says of itself, checked
"""
_INSTRUCTIONS = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16")  # as PyTorch calls them
# Where trained models are looked for: in folders here, as --output is given, and deeper in output/.
_RUNS = ("*", "output/*", "output/*/*", "output/*/*/*")


def add_info(commands: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(commands, "info", _DESCRIPTION, run_info)
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a model file (.safetensors) or the name of a model in the package",
    )
    parser.add_argument("--json", action="store_true", help="the same for programs")


def run_info(args: argparse.Namespace) -> None:
    """Run `ctmasknet info`; raises a FileNotFoundError or ValueError for an unusable model."""
    found = gather_model(args.model) if args.model else gather_info()
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print(describe_model(found) if args.model else describe_info(found))


def gather_info() -> dict[str, Any]:
    """Return all that `ctmasknet info` says, in plain types.

    Keys: versions; compiled_detectron2; extras: extra -> package -> version or None; hardware;
    precision; configs, shipped_models: names; models: a dict for each; datasets: found and missing,
    name -> file.
    """
    files = registered_files().items()
    return {
        "versions": versions(),
        "compiled_detectron2": find_spec("detectron2._C") is not None,
        "extras": _extras(),
        "hardware": _hardware(),
        "precision": _precision(),
        "configs": config_names(),
        "shipped_models": model_names(),
        "models": _models(),
        "datasets": {
            "root": str(datasets_root().resolve()),
            "found": {name: str(path) for name, path in files if path.is_file()},
            "missing": {name: str(path) for name, path in files if not path.is_file()},
        },
        "notice": NOTICE,
    }


def _extras() -> dict[str, dict[str, str | None]]:
    """Return the packages of each extra of the installed distribution."""
    found: dict[str, dict[str, str | None]] = {}
    try:
        requirements = requires("ctmasknet") or []
    except PackageNotFoundError:  # a checkout that is not installed
        requirements = []
    for line in requirements:
        extra = re.search(r"""extra\s*==\s*["']([\w-]+)["']""", line)
        name = re.match(r"[\w.-]+", line)
        if extra and name and name[0] != "ctmasknet":  # an extra may be made of others
            found.setdefault(extra[1], {})[name[0]] = _version(name[0])
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _hardware() -> dict[str, Any]:
    has = torch.cpu.get_capabilities()
    gpus = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    memory = None
    if hasattr(os, "sysconf"):
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return {
        **machine(),
        "memory_gib": memory,
        "instructions": [name for name in _INSTRUCTIONS if has.get(name)],
        "gpus": [torch.cuda.get_device_name(gpu) for gpu in gpus],
    }


def _precision() -> dict[str, str]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen, why = choose_precision(device)
    return {"auto": chosen, "device": device, "why": why}


def _models() -> list[dict[str, Any]]:
    """Return the training runs here and below output/, and the demo's, wherever that is."""
    try:
        demo = {folder.resolve() for folder in demo_folders()}
    except FileNotFoundError:
        demo = set()
    configs = [file for place in _RUNS for file in Path().glob(f"{place}/config.yaml")]
    folders = sorted({file.parent.resolve() for file in configs} | demo)
    return [
        {"folder": str(folder), "weights": weights.name, "demo": folder in demo}
        for folder in folders
        if (weights := run_weights(folder))
    ]


def describe_info(found: dict[str, Any]) -> str:
    """Lay out what `gather_info` returns as text."""
    hardware, precision, datasets = found["hardware"], found["precision"], found["datasets"]
    operators = "with" if found["compiled_detectron2"] else "without"
    memory = f", {hardware['memory_gib']} GiB" if hardware["memory_gib"] else ""
    sections = {
        "versions": [f"{name} {number}" for name, number in found["versions"].items()]
        + [f"Detectron2 {operators} compiled operators, of which ctmasknet needs none"],
        "extras": [
            f"[{extra}] {name} {number or 'missing'}"
            for extra, packages in found["extras"].items()
            for name, number in packages.items()
        ],
        "hardware": [
            f"{hardware['processor']}, {counted(hardware['cores'], 'core')}{memory}",
            f"instructions: {', '.join(hardware['instructions']) or 'none that matter here'}",
            f"GPUs: {', '.join(hardware['gpus']) or 'none'}",
        ],
        "precision": [f"auto is {precision['auto']}: {precision['why']}"],
        "configs": _by_folder({Path(name).name: name for name in found["configs"]}),
        "models in the package": found["shipped_models"],
        "models, here and in output": [
            f"{model['folder']} ({model['weights']}{', of the demo' if model['demo'] else ''})"
            for model in found["models"]
        ],
        "data sets found": _by_folder(datasets["found"]),
        "data sets missing, and where they are expected": _by_folder(datasets["missing"]),
    }
    blocks = (
        "\n".join([head, *(_indented(line) for line in lines or ["none"])])
        for head, lines in sections.items()
    )
    return "\n".join([*blocks, NOTICE])


def _indented(line: str) -> str:
    return textwrap.fill(
        line,
        100,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _by_folder(files: dict[str, str]) -> list[str]:
    names: dict[Path, list[str]] = {}
    for name, file in files.items():
        names.setdefault(Path(file).parent, []).append(name)
    return [f"{folder}: {', '.join(mine)}" for folder, mine in names.items()]
