"""The command `ctmasknet`: what it can do, said at once.

The package ctmasknet takes seconds to import, as it registers with Detectron2; so the list of
commands is here, beside it, and the package is imported for a command alone.
"""

import argparse
import sys
from importlib.metadata import version

DESCRIPTION = """Lesions and classes of chest CT. Research use only, not for diagnosis.

  ctmasknet demo                                                    both models on drawn phantoms
  ctmasknet train quick/lesion_R18_T1 --train train.json --validation val.json --output lesions
  ctmasknet predict scan.nii.gz --model lesions --output results

`ctmasknet COMMAND --help` explains each.
"""
# Each is a module of `ctmasknet.commands` with a function add_NAME.
COMMANDS = {
    "train": "a lesion model or a CT-Mask-Net, on your data by their paths",
    "train-scans": "a head that classifies scans from predictions of their slices",
    "evaluate": "a model on a data set, or files of predictions of any system",
    "predict": "scans and slices to lesions, measures, classes and reports",
    "prepare": "masks, scans and lists to data sets; other weights to ours",
    "audit": "leaks between splits, damaged files, confounders",
    "compare": "two models on the same data, or many in a table",
    "demo": "both models trained, evaluated and shown on drawn phantoms",
    "pack": "a trained model in one file, with config, classes and terms",
    "info": "versions, hardware, configs, models and data sets at hand",
}


def main() -> None:
    """Run the command line; its help needs nothing but this file."""
    if sys.argv[1:] in ([], ["-h"], ["--help"], ["--version"]):
        parser, commands = new_parser()
        for name, text in COMMANDS.items():
            commands.add_parser(name, help=text)
        parser.parse_args()
    from ctmasknet.__main__ import main as run

    run()


def new_parser(
    limits: "type[argparse.Action] | None" = None,
) -> tuple[argparse.ArgumentParser, "argparse._SubParsersAction[argparse.ArgumentParser]"]:
    """Return the command's parser, and where its commands are added.

    Args:
        limits: what --limits does; None where it only stands in the help.
    """
    parser = argparse.ArgumentParser(
        prog="ctmasknet", description=DESCRIPTION, formatter_class=_Formatter
    )
    add_limits(parser, limits)
    parser.add_argument("--version", action="version", version=f"ctmasknet {version('ctmasknet')}")
    return parser, parser.add_subparsers(required=True, metavar="COMMAND")


def add_limits(
    parser: argparse.ArgumentParser, action: "type[argparse.Action] | None" = None
) -> None:
    """Add --limits; `ctmasknet.limits` says what of."""
    parser.add_argument(
        "--limits",
        action=action or "store",
        default=argparse.SUPPRESS,
        metavar="N",
        help="allow scans, images and archives N times as large as usual (default: 1)",
    )


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Gives the longest command room beside what it does: argparse forgets their indent."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=17)
        self._action_max_length = 15
