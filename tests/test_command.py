import subprocess
import sys

import pytest

import ctmasknet_command
from ctmasknet import __version__
from ctmasknet.wording import NOTICE

SCRIPT = "import ctmasknet_command; ctmasknet_command.main()"


def ran(*words):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--version"], []])
def test_the_command_says_what_it_can_without_the_package(words):
    code = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {SCRIPT}"
    assert ran("-c", code, *words).stdout.splitlines()[-1] == "False"


def test_its_help_is_that_of_the_package(capsys):
    from ctmasknet.__main__ import main

    with pytest.raises(SystemExit):
        main(["--help"])
    assert ran("-c", SCRIPT, "--help").stdout == capsys.readouterr().out


def test_its_notice_and_version_are_those_of_the_package():
    assert NOTICE in ctmasknet_command.DESCRIPTION
    assert ran("-c", SCRIPT, "--version").stdout == f"ctmasknet {__version__}\n"
