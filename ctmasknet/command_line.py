"""What the command `ctmasknet` and the scripts in datasets/ and tools/ share."""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .errors import ErrorPolicy, collecting
from .extras import MissingExtraError
from .interrupts import exit_on_interrupt
from .library_warnings import quiet_libraries
from .limits import add_limits
from .pseudonyms import NAMES_FILE, Names, names_file

_OF_ALL = ("run", "words", "command_line")  # what `ctmasknet` itself puts into its arguments


def run_script(main: Callable[[], object]) -> None:
    """Run a script; what a user can mend becomes one line for him, and exit code 2.

    Ctrl-C is one line, too, and exit code 130.
    """
    quiet_libraries()
    try:
        exit_on_interrupt(main)
    except (ValueError, OSError, FloatingPointError, MissingExtraError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows a script's docstring as it is written."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_limits(parser)
    return parser


def new_subparser(
    commands: argparse._SubParsersAction,
    name: str,
    description: str,
    run: Callable[[argparse.Namespace], int | None] | None = None,
    help: str | None = None,
) -> argparse.ArgumentParser:
    """Add a subcommand, whose description is shown as it is written, and return its parser.

    `run` does what it is for and returns its exit code; None stands for 0.
    """
    parser = commands.add_parser(
        name,
        help=help,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_limits(parser)
    parser.set_defaults(run=run, parser=parser)
    return parser


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return what a subcommand's own arguments are, as keyword arguments of what it calls."""
    return {key: value for key, value in vars(args).items() if key not in _OF_ALL}


def take_words(parser: argparse.ArgumentParser, usage: str) -> None:
    """Let a subcommand take bare words among its options, in `args.words`, as KEY VALUE pairs.

    A positional argument would not do: it takes no words that options part, or takes options, too.
    """
    parser.usage = f"%(prog)s {usage}"
    parser.set_defaults(words=[])


def check_pairs(words: Sequence[str], repeated: str = "") -> None:
    """Raise a ValueError unless words are KEY VALUE pairs, as MODEL.DEVICE cpu.

    `repeated` is an option of one value, to which words of another kind may belong.
    """
    hint = f"; for several files give {repeated} again for each" if repeated else ""
    for key in words[::2]:
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)*", key):
            raise ValueError(f"{key}: not a KEY of the config, as SOLVER.MAX_ITER{hint}")
    if len(words) % 2:
        raise ValueError(f"{words[-1]}: has no VALUE; write KEY VALUE")


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line with subcommands, some of which may take bare words."""
    args, words = parser.parse_known_args(arguments)
    unknown = [x for x in words if x.startswith("--")] if "words" in args else words
    parser = vars(args).pop("parser", parser)  # the subcommand's, whose usage helps
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    args.words = words
    return args


def add_skip_bad(parser: argparse.ArgumentParser) -> None:
    """Add --skip-bad; `args.errors` is then the ErrorPolicy for what cannot be used."""
    parser.add_argument(
        "--skip-bad",
        dest="errors",
        action="store_const",
        const=collecting(),
        default=ErrorPolicy(collects=False),
        help="leave out what cannot be used, and list it at the end",
    )


def add_names(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --keep-identifiers and --names; `what` the former names patients and files in."""
    add = parser.add_mutually_exclusive_group().add_argument
    add(
        "--keep-identifiers",
        action="store_true",
        help=f"name patients, files and UIDs in {what} (default: pseudonyms)",
    )
    add(
        "--names",
        type=Path,
        metavar="FILE",
        help=f"which pseudonym is whose; one file for all that belongs together (default: "
        f"{NAMES_FILE} beside DIR, never in it)",
    )


def add_keep_paths(parser: argparse.ArgumentParser) -> None:
    """Add --keep-identifiers to a command whose patients and files are those of lists."""
    parser.add_argument(
        "--keep-identifiers",
        action="store_true",
        help="write whole paths (default: without their folders; names are those of the lists)",
    )


def recorded_command(args: argparse.Namespace) -> str:
    """Return the command line for results, absolute paths without folders unless they are kept."""
    words = shlex.split(args.command_line)
    return shlex.join(
        x if args.keep_identifiers or not os.path.isabs(x) else os.path.basename(x) for x in words
    )


def open_names(args: argparse.Namespace) -> Names | None:
    """Return the pseudonyms to use for args.output; None with --keep-identifiers."""
    return None if args.keep_identifiers else Names(names_file(args.output, args.names))


def print_skipped(errors: ErrorPolicy) -> None:
    """Print what is to be known, and what was left out, if anything was."""
    for note in errors.notes:
        print(f"note: {note}")
    if skipped := errors.messages:
        print(f"skipped {len(skipped)}:", *(f"  {line}" for line in skipped), sep="\n")
