"""The command `ctmasknet`, also as `python -m ctmasknet`."""

import shlex
import sys
from collections.abc import Sequence
from importlib import import_module

from . import __version__
from .command_line import new_parser, parse, run_script
from .wording import NOTICE

_DESCRIPTION = f"""Lesions and classes of chest CT. {NOTICE}

  ctmasknet demo                                                    both models on drawn phantoms
  ctmasknet train quick/lesion_R18_T1 --train train.json --validation val.json --output lesions
  ctmasknet predict scan.nii.gz --model lesions --output results

`ctmasknet COMMAND --help` explains each.
"""
# Each is a module of `commands` with a function add_NAME; only the one that is asked for is loaded.
COMMANDS = {
    "train": "a lesion model or a CT-Mask-Net, on your data by their paths",
    "train-scans": "a head that classifies scans from predictions of their slices",
    "evaluate": "a model on a data set, or files of predictions of any system",
    "predict": "scans and slices to lesions, measures, classes and reports",
    "export": "predicted lesions to the programs in which they are corrected",
    "prepare": "masks, scans and lists to data sets; other weights to ours",
    "audit": "leaks between splits of a data set, damaged files, confounders",
    "compare": "two models on the same data, or many in a table",
    "demo": "both models trained, evaluated and shown on drawn phantoms",
    "pack": "a trained model in one file, with its config, classes and terms",
    "info": "versions, hardware, configs, models and data sets at hand",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with arguments, those of the command line if None."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = new_parser(_DESCRIPTION)
    parser.prog = "ctmasknet"
    parser.add_argument("--version", action="version", version=f"ctmasknet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        if name in arguments[:1]:
            name = name.replace("-", "_")
            module = import_module(f".commands.{name}", __package__)
            getattr(module, f"add_{name}")(commands)
        else:
            commands.add_parser(name, help=text)
    args = parse(parser, arguments)
    args.command_line = shlex.join([parser.prog, *arguments])
    run_script(lambda: sys.exit(args.run(args)))


if __name__ == "__main__":
    main()
