"""`ctmasknet` itself: its commands, their help, and words that no command knows."""

import re

import pytest

from ctmasknet.__main__ import COMMANDS
from ctmasknet.wording import NOTICE


def test_help_lists_all_commands(command):
    code, printed, _ = command("--help")
    assert code == 0 and NOTICE in printed
    for name, help in COMMANDS.items():
        assert re.search(rf"^    {name}\s+{re.escape(help)}$", printed, re.MULTILINE)
    assert printed.count("\n  ctmasknet ") == 3


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(command, name):
    code, printed, _ = command(name, "--help")
    assert "docs/" not in printed  # an installed package has no documents
    assert code == 0 and printed.startswith(f"usage: ctmasknet {name} ")
    assert f"\n  ctmasknet {name}" in printed and NOTICE in printed


def test_the_layout_of_data_sets_is_in_the_help(command):
    code, printed, _ = command("prepare", "dataset", "--help")
    assert code == 0 and "medseg_lesion/   images/{slice}.png" in printed and ".md" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "required: COMMAND"),
        (("trian",), "invalid choice: 'trian'"),
        (("train", "R18_T1", "--trian", "a.json"), "ctmasknet train: error: unrecognized argum"),
        (("train", "R18_T1", "--eval-only"), "unrecognized arguments: --eval-only"),
        (("prepare", "phantom", "all"), "prepare phantom: error: unrecognized arguments: all"),
        (("demo", "quick"), "error: quick: not a KEY of the config"),
        (("info", "all"), "error: all: expected a model file (.safetensors;"),
        (("info", "all", "more"), "unrecognized arguments: more"),
    ],
)
def test_words_that_mean_nothing(command, arguments, message):
    code, _, error = command(*arguments)
    assert code == 2 and message in error
