import threading
from pathlib import Path

import pytest

from ctmasknet.inference.inputs import Input
from ctmasknet.inference.read_ahead import ReadAhead


def inputs(*names):
    return [Input(name, Path(name)) for name in names]


def test_the_next_one_is_read_while_one_is_used_and_no_further():
    begun, go_on = [], threading.Event()

    def read(source):
        begun.append(source.name)
        if source.name == "b":
            assert go_on.wait(10)
        if source.name == "c":
            in_time.set()
        return source.name.upper()

    a, b, c, d = sources = inputs("a", "b", "c", "d")
    in_time = threading.Event()
    ahead = ReadAhead(sources, read)
    assert ahead.take(a) == "A"
    go_on.set()  # b is read while a is used
    assert ahead.take(b) == "B"
    assert in_time.wait(10) and begun == ["a", "b", "c"]
    assert ahead.take(c) == "C" and ahead.take(d) == "D"


def test_an_error_is_raised_where_the_scan_is_taken_and_the_next_one_comes():
    def read(source):
        if source.name == "bad":
            raise ValueError("bad: no scan")
        return source.name

    bad, good = sources = inputs("bad", "good")
    ahead = ReadAhead(sources, read)
    with pytest.raises(ValueError, match="bad: no scan"):
        ahead.take(bad)
    assert ahead.take(good) == "good"


def test_one_that_was_not_announced_is_read_when_it_is_taken():
    (first, other) = inputs("first", "other")
    ahead = ReadAhead([first], lambda source: source.name)
    assert ahead.take(other) == "other" and ahead.take(first) == "first"
