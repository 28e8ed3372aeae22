"""docs/inputs.md is what the tests' table gives, and every test that it names is there."""

import re
from pathlib import Path

import pytest
from inputs_table import PAGE, SECTIONS, page

TESTS = Path(__file__).parent


def test_the_page_is_the_table():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make docs"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_row_has_its_test(section):
    for row in SECTIONS[section]:
        found = re.findall(r"^def (test_\w+)", (TESTS / row.file).read_text("utf-8"), re.MULTILINE)
        assert row.test in found, row
        assert "|" not in row.found + row.happens, row


def test_no_row_is_there_twice():
    rows = [row.found for rows in SECTIONS.values() for row in rows]
    assert len(set(rows)) == len(rows)
