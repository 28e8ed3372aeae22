"""Two runs never share a folder, and a killed one does not keep the next one out."""

import os
import subprocess
import sys
import time

import pytest

from ctmasknet.engine.run_lock import run_lock

pytest.importorskip("fcntl")
_HOLD = """
import sys, time
from ctmasknet.engine.run_lock import run_lock
with run_lock(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow  # imports the package in a process of its own
def test_the_second_run_is_refused_until_the_first_is_dead(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-c", _HOLD, str(folder)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline() == "locked\n"
        message = rf"run: process {first.pid} on .* is at work in this folder"
        for _ in range(2):  # a refusal takes nothing from the first one
            with pytest.raises(ValueError, match=message), run_lock(folder):
                pass
        (folder / f".{first.pid}.model_final.pth").touch()
    finally:
        first.kill()
        first.wait()
    started = time.monotonic()
    with run_lock(folder):
        assert [x.name for x in folder.iterdir()] == [".lock"]  # half a file was removed
    assert time.monotonic() - started < 5
    assert list(folder.iterdir()) == []


def test_a_folder_that_was_there_or_has_files_stays(tmp_path):
    with run_lock(tmp_path):
        assert f"{os.getpid()} on " in (tmp_path / ".lock").read_text()
    assert list(tmp_path.iterdir()) == []
    with run_lock(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "result").touch()
    assert [x.name for x in (tmp_path / "a" / "b").iterdir()] == ["result"]
