"""What the command and the scripts in datasets/ and tools/ share."""

import argparse
import logging
import sys
import warnings
from collections.abc import Callable

from .errors import RAISE, ErrorPolicy, collecting
from .extras import MissingExtraError


def run_script(main: Callable[[], object]) -> None:
    """Run a script; what a user can mend becomes one line for him, and exit code 2."""
    quiet_libraries()
    try:
        main()
    except (ValueError, OSError, MissingExtraError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def quiet_libraries() -> None:
    """Hide two warnings in the whole process: of Detectron2's anchors and of PyTorch's tracing."""
    warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows a script's docstring as it is written."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_skip_bad(parser: argparse.ArgumentParser) -> None:
    """Add --skip-bad; `args.errors` is then the ErrorPolicy for what cannot be used."""
    parser.add_argument(
        "--skip-bad",
        dest="errors",
        action="store_const",
        const=collecting(),
        default=RAISE,
        help="leave out what cannot be used, and list it at the end",
    )


def print_skipped(errors: ErrorPolicy) -> None:
    """Print what was left out, if anything was."""
    if skipped := errors.messages:
        print(f"skipped {len(skipped)}:", *(f"  {line}" for line in skipped), sep="\n")
