"""Arrows between the package's rooms point one way: see docs/design.md."""

import ast
from pathlib import Path

import pytest

import ctmasknet

PACKAGE = Path(ctmasknet.__file__).parent
ROOMS = (
    *("lung", "data", "volumes", "modeling", "fast", "checkpoint", "evaluation", "engine"),
    *("inference", "quantification", "report", "audit", "commands"),
)
CALLERS_OF_FAST = {"fast", "engine", "inference", "commands"}


def imported_rooms(path):
    """The rooms that a module imports, with the line of each."""
    package = path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package[: len(package) - node.level + 1]
            target = (*above, *(node.module or "").split("."), *(x.name for x in node.names))
            found = next((part for part in target if part), "")
            if found in ROOMS:
                yield found, node.lineno


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_from_rooms_above_it(room):
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line} imports {other}"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for other, line in imported_rooms(path)
        if ROOMS.index(other) > ROOMS.index(room) or other == "fast" and room not in CALLERS_OF_FAST
    ]
    assert wrong == []


def test_every_folder_is_a_room():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ROOMS)
