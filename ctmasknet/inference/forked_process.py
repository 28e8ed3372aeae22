"""Models do not survive a fork: PyTorch's threads stay in the parent."""

import os

import torch

_owner: int | None = None  # the process whose models compute on several threads


def check_process() -> None:
    """Raise a RuntimeError where a model would wait for ever for threads that are not there.

    That is in a process forked from one that has made a model, unless it computes on one thread.
    """
    global _owner
    if torch.get_num_threads() == 1:
        return
    if _owner is None:
        _owner = os.getpid()
    if _owner != os.getpid():
        raise RuntimeError(
            f"process {os.getpid()} was forked from {_owner}, which has made a model, without the "
            "threads of PyTorch: start processes by spawn (multiprocessing.get_context"
            '("spawn")), or call torch.set_num_threads(1) in each before anything else'
        )
