"""One process per contender: memory of its own, and a failure that stops nobody else."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
import warnings
from multiprocessing.connection import Connection
from typing import Any, Literal

import torch

from ctmasknet.fast.malloc import keep_freed_memory
from ctmasknet.library_warnings import quiet_libraries

from .peak_memory import PeakMemory
from .profiling import time_stages
from .settings import Case, Contender
from .steps import Step, build_step

STEP, STAGES, PEAK = "step", "stages", "peak"


class ContenderError(Exception):
    """A contender cannot go on; says why."""


class Worker:
    """A contender in a process of its own, which does what it is asked."""

    def __init__(
        self, case: Case, contender: Contender, method: Literal["spawn", "forkserver"] = "spawn"
    ):
        """Start the process; `ask` waits until its network is built.

        Args:
            case, contender: what it will run.
            method: "spawn" loads the libraries in the process itself, which takes seconds, so that
                `PEAK` is free of what loading them touched. "forkserver" loads them once for all
                workers; `PEAK` then counts some of their pages, the same for each.
        """
        os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler's own lines, read at import
        context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(["ctmasknet.engine"])
        self._connection, theirs = context.Pipe()
        arguments = (theirs, case, contender)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, order: str) -> Any:
        """STEP: seconds of one step; STAGES: see `time_stages`; PEAK: see `PeakMemory.read`.

        Raises:
            ContenderError: the process failed or was killed.
        """
        try:
            self._connection.send(order)
            answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            raise ContenderError(f"its process ended with code {code}: out of memory?") from None
        if isinstance(answer, ContenderError):
            raise answer
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()


def _serve(connection: Connection, case: Case, contender: Contender) -> None:
    warnings.simplefilter("ignore")  # the libraries' own
    quiet_libraries()
    torch.set_num_threads(case.threads)
    if contender.keeps_memory:
        keep_freed_memory()
    try:
        memory = PeakMemory(case.device)
        step = build_step(case, contender)
        orders = {
            STEP: lambda: _time(step, case.device),
            STAGES: lambda: time_stages(step, case.device),
            PEAK: memory.read,
        }
        while True:
            connection.send(orders[connection.recv()]())
    except (EOFError, BrokenPipeError):  # the parent is gone
        return
    except Exception as error:  # whatever it is, it belongs in the table
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        connection.send(ContenderError(reason))
        with contextlib.suppress(EOFError):
            connection.recv()  # stay until the parent has asked: a closed pipe would tell nothing


def _time(step: Step, device: str) -> float:
    started = time.perf_counter()
    step()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
