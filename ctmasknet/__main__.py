"""The command `ctmasknet`, also as `python -m ctmasknet`."""

import shlex
import sys
from collections.abc import Sequence
from importlib import import_module

from ctmasknet_command import COMMANDS, new_parser

from .command_line import parse, run_script
from .limits import SetLimits


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with arguments, those of the command line if None."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser, commands = new_parser(SetLimits)
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
