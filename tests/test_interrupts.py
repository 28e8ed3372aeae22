"""Ctrl-C ends the command with one line and exit code 130, while it is loaded, too."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ctmasknet import interrupts
from ctmasknet.command_line import run_script


@pytest.fixture(autouse=True)
def own_handler():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("message", ["", "interrupted; --resume goes on"])
def test_one_line_and_130(message, capsys):
    def main():
        raise KeyboardInterrupt(message)

    with pytest.raises(SystemExit) as stop:
        run_script(main)
    assert stop.value.code == 130
    assert capsys.readouterr().err == f"\n{message or 'interrupted'}\n"
    os.kill(os.getpid(), signal.SIGINT)  # what is left to do is not disturbed


@pytest.mark.parametrize("end", [None, 0, 2])
def test_results_that_are_complete_are_no_interrupted_ones(end):
    """While the process of a command ends, Ctrl-C changes neither its exit code nor its output."""
    signal.signal(signal.SIGINT, interrupts._exit)
    with contextlib.suppress(SystemExit):
        interrupts.exit_on_interrupt(lambda: end is None or sys.exit(end))
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_ctrl_c_that_python_loses_comes_again(monkeypatch, capfd):
    """While a process is forked, or an object deleted, Python only prints what is raised."""

    class Lost:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    class HalfMade:
        def __del__(self):
            raise AttributeError("half made")

    def main():
        lost, _half = Lost(), HalfMade()
        del lost
        time.sleep(20)

    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    signal.signal(signal.SIGINT, interrupts._exit)
    with pytest.raises(SystemExit) as stop:
        interrupts.exit_on_interrupt(main)
    assert (stop.value.code, capfd.readouterr().err) == (130, "\ninterrupted\n")


def loading(*command):
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    maps = Path(f"/proc/{process.pid}/maps")
    while "libtorch" not in maps.read_text():  # PyTorch is being imported
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    return process, *process.communicate(timeout=100)


@pytest.mark.slow  # imports the package in processes of their own
@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="cannot see what is imported")
def test_while_the_command_is_loaded():
    process, printed, errors = loading("-m", "ctmasknet", "info")
    assert (process.returncode, printed, errors) == (130, "", "\ninterrupted\n")


@pytest.mark.slow
def test_while_the_command_ends():
    """Python then puts the signal's own way back, which kills."""
    code = "import signal, sys; sys.argv = ['ctmasknet', '--version']\n"
    code += "class Late:\n    def __del__(self, send=signal.raise_signal): send(2)\n"
    code += "import ctmasknet.__main__ as command; command.late = Late(); command.main()"
    process = subprocess.run(
        [sys.executable, "-c", code, "-m", "ctmasknet"], capture_output=True, text=True
    )
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="cannot see what is imported")
def test_other_programs_keep_their_own_way():
    process, _, errors = loading("-c", "import ctmasknet")
    assert process.returncode != 130 and "KeyboardInterrupt" in errors
