"""`ctmasknet` in processes that can be stopped."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ctmasknet.__main__ import main


class Run:
    """`ctmasknet` with arguments, in a group of processes of its own.

    `forked` saves the time of importing PyTorch, in which nothing is written. What is printed goes
    to the file `log`.
    """

    def __init__(self, command: list[str], log: Path, forked: bool = True):
        self._log = log
        self._process: Any
        if forked:
            context = multiprocessing.get_context("fork")
            self._process = context.Process(target=_in_fork, args=(command, log))
            self._process.start()
            return
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ctmasknet", *command],
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell lets what it runs in the background ignore Ctrl-C.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all processes, if they have not ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was printed."""
        if isinstance(self._process, subprocess.Popen):
            code = self._process.wait(600)
        else:
            self._process.join(600)
            code = self._process.exitcode
        return code, self._log.read_text(errors="replace")


def _in_fork(command: list[str], log: Path) -> None:
    os.setsid()
    with log.open("w") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    main(command)
