"""The command `ctmasknet`, also as `python -m ctmasknet`."""

import argparse
import shlex
import sys
from collections.abc import Sequence

from . import __version__
from .command_line import run_script
from .commands.predict import add_predict

_DESCRIPTION = """Lesions and classes of chest CT. Research use only, not for diagnosis.

Training and evaluation: tools/train_net.py and the other scripts in tools/.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with arguments, those of the command line if None."""
    parser = argparse.ArgumentParser(
        prog="ctmasknet",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ctmasknet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_predict(commands)
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    args = parser.parse_args(arguments)
    args.command_line = shlex.join([parser.prog, *arguments])
    run_script(lambda: sys.exit(args.run(args)))


if __name__ == "__main__":
    main()
