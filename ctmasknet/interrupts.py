"""Ctrl-C ends the command `ctmasknet` with one line and exit code 130, at any moment."""

import atexit
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

INTERRUPTED = 130  # 128 and the number of the signal, as shells have it
_came = threading.Event()


def _exit_while_loading() -> None:
    """Let Ctrl-C end the program at once, until `exit_on_interrupt`; of the command alone.

    For the seconds in which PyTorch is imported and nothing is to be put in order.
    """
    words = sys.orig_argv[1:]
    is_module = "-m" in words and words[words.index("-m") + 1 :][:1] == ["ctmasknet"]
    is_script = Path(sys.argv[0] if sys.argv else "").stem == "ctmasknet"
    if not (is_module or is_script) or multiprocessing.parent_process():
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _exit)
        atexit.register(_ignore)  # Python's own way, as it ends, lets Ctrl-C kill the process


def _ignore() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _raise(*_: object) -> NoReturn:
    _came.set()
    raise KeyboardInterrupt


def _unraisable(lost: Any) -> None:
    """Send Ctrl-C again that Python could not raise where it came, as while a process is forked.

    Other errors that it cannot raise are, after Ctrl-C, of objects that are half made or gone.
    """
    if issubclass(lost.exc_type, KeyboardInterrupt):
        again = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()
    elif not _came.is_set():
        sys.__unraisablehook__(lost)


def _exit(*_: object) -> NoReturn:
    os.write(2, b"\ninterrupted\n")
    os._exit(INTERRUPTED)


def exit_on_interrupt(main: Callable[[], object]) -> None:
    """Call `main`; Ctrl-C lets it put its files in order and ends the program.

    The message of a KeyboardInterrupt, if it has one, says what is done and how to go on.
    """
    is_command = signal.getsignal(signal.SIGINT) is _exit
    if is_command:
        signal.signal(signal.SIGINT, _raise)
        sys.unraisablehook = _unraisable
    try:
        main()
    except KeyboardInterrupt as stop:
        # What is left, such as the end of threads, takes no time: no more errors in it.
        _ignore()
        print(f"\n{str(stop) or 'interrupted'}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        if is_command:  # all is written or told
            _ignore()


_exit_while_loading()
