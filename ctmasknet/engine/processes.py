"""Start the processes of a run, and stop them with one line when one of them fails."""

import logging
import multiprocessing
import os
import re
import time
from argparse import Namespace
from collections.abc import Callable

import torch
from detectron2.engine import launch
from detectron2.utils import comm
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from ..library_warnings import quiet_libraries


class StoppedRun(ValueError):
    """Says in one line why a run cannot go on."""


def run_processes(main: Callable[[Namespace], object], args: Namespace) -> None:
    """Call `main(args)` in each process of this machine.

    `main` is a function of a module, which every process imports anew; `args` are Detectron2's,
    where the `dist_url` "auto" is a free port. If a process fails all are stopped, and a user's
    mistake becomes a StoppedRun.
    """
    # It warns of each process that it stops.
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    try:
        _check_command(args)
        launch(
            _run,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(main, args),
        )
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():  # if it was sent to this one alone
            process.terminate()
        raise
    except ProcessExitedException as error:
        raise StoppedRun(str(error)) from None
    except ProcessRaisedException as error:  # holds the traceback of another process as text
        found = re.search(r"^\S*(?:StoppedRun|DistNetworkError): (.+)\Z", str(error).strip(), re.M)
        if not found:
            raise
        raise StoppedRun(found[1]) from None


def _check_command(args: Namespace) -> None:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if 0 < gpus < args.num_gpus:
        raise StoppedRun(
            f"--num-gpus is {args.num_gpus}, but GPUs found: {gpus}. For processes on the CPU hide "
            "them: CUDA_VISIBLE_DEVICES= "
        )
    if args.num_machines > 1 and args.dist_url == "auto":
        raise StoppedRun(
            "--num-machines wants --dist-url tcp://HOST:PORT, with a free port of the machine "
            "whose --machine-rank is 0"
        )


def _run(main: Callable[[Namespace], object], args: Namespace) -> None:
    share_cores()
    quiet_libraries()
    logging.getLogger("detectron2.engine.train_loop").addFilter(_reason_for_traceback)
    try:
        main(args)
    except Exception as error:
        reason = _reason(error)
        if not reason:
            raise
        if reason == _LOST:
            time.sleep(5)  # to be stopped before: the process that failed tells the reason
        raise StoppedRun(reason) from error


_LOST = "another process of this run ended; its own output says why"


def _reason(error: BaseException) -> str:
    """Return one line for the user; "" for what only a traceback explains."""
    if isinstance(error, (OSError, ValueError, KeyError, FloatingPointError)):
        # A data loader's worker puts its traceback in front of the last line.
        last_line = (str(error) or repr(error)).strip().splitlines()[-1]
        return last_line.removeprefix("ValueError: ")
    # As gloo says "Connection closed" or "reset by peer".
    return _LOST if isinstance(error, RuntimeError) and "by peer" in str(error) else ""


def _reason_for_traceback(record: logging.LogRecord) -> bool:
    """Put the reason into the place of the traceback that Detectron2 logs of each error."""
    if record.exc_info and record.exc_info[1] and (reason := _reason(record.exc_info[1])):
        record.msg, record.exc_info = f"{record.msg} {reason}", None
    return True


def share_cores() -> None:
    """Give a process its part of the machine's cores, unless OMP_NUM_THREADS is set."""
    if comm.get_local_size() > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // comm.get_local_size()))
