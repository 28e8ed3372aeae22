"""Cells that spreadsheets would take for formulas."""

import csv
import io

import pytest

from ctmasknet.csv_cells import neutral, plain, write_rows
from ctmasknet.data.list_files import read_csv, write_csv

FORMULAS = ["=1+1", "+cmd", "-cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "\n=1", "'=1", "''=1"]


@pytest.mark.parametrize("cell", FORMULAS)
def test_formulas_become_texts_and_come_back(cell):
    assert neutral(cell) == f"'{cell}"
    assert plain(neutral(cell)) == cell


@pytest.mark.parametrize("cell", ["-1.5", "+2", "-1e-3", "-inf", "a=b", "", "'s name", "1-2", "ü"])
def test_numbers_and_other_texts_stay(cell):
    assert neutral(cell) == cell == plain(cell)


def test_values_stay_what_they_are():
    stream = io.StringIO(newline="")
    write_rows(stream, [["=a", "b"], [-1.5, None], ["-2", "=x"]])
    assert stream.getvalue() == "'=a,b\n-1.5,\n-2,'=x\n"


def test_a_list_is_read_as_it_was_written(tmp_path):
    row = {"file": "-1.png", "label": "=A", "patient": "@p", "scan": "'=s", "+more": "-3"}
    write_csv(tmp_path / "list.csv", list(row), [row])
    assert next(csv.reader((tmp_path / "list.csv").open()))[-1] == "'+more"
    assert [found for _, found in read_csv(tmp_path / "list.csv", "list")] == [row]
