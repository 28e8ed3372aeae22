"""Run tools/train_net.py in two processes: `two_processes.py '[[ARGUMENT, ...], ...]'`.

Several commands share one start of the processes. With `RANK URL` behind them it is the process of
one of two machines.
"""

import json
import runpy
import sys
from argparse import Namespace
from pathlib import Path

import torch
from detectron2.engine import default_argument_parser

from ctmasknet.command_line import run_script
from ctmasknet.engine.processes import run_processes

TRAIN_NET = str(Path(__file__).parents[1] / "tools/train_net.py")


def run(args):
    torch.set_num_threads(1)
    main = runpy.run_path(TRAIN_NET)["main"]
    for command in args.commands:
        main(default_argument_parser().parse_args([*command]))


if __name__ == "__main__":
    commands = json.loads(sys.argv[1])
    where = {"num_gpus": 2, "num_machines": 1, "machine_rank": 0, "dist_url": "auto"}
    if len(sys.argv) > 2:
        where = {"num_gpus": 1, "num_machines": 2, "machine_rank": int(sys.argv[2])}
        where["dist_url"] = sys.argv[3]
    run_script(lambda: run_processes(run, Namespace(commands=commands, **where)))
