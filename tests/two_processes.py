"""Evaluate checkpoints in two processes: `two_processes.py '[[ARGUMENT, ...], ...]'`.

The arguments are those of tools/train_net.py; several evaluations share one start of the processes.
"""

import json
import sys

import torch
from detectron2.engine import default_argument_parser, launch

from ctmasknet.engine import Trainer, config_from_args


def evaluate(commands):
    torch.set_num_threads(1)
    for command in commands:
        args = default_argument_parser().parse_args([*command])
        Trainer.evaluate_checkpoint(config_from_args(args))


if __name__ == "__main__":
    launch(evaluate, 2, dist_url="auto", args=(json.loads(sys.argv[1]),))
