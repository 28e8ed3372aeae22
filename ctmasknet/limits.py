"""How large an input may be, told from its headers before memory or disk is taken for it.

They are far above any real scan. Where one is not, `--limits 4` of every command, or the
environment variable CTMASKNET_LIMITS=4, makes each four times as large; processes inherit it.
"""

import argparse
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import ctmasknet_command

OPTION, VARIABLE = "--limits", "CTMASKNET_LIMITS"


class Limit(NamedTuple):
    """The most of something that an input may have."""

    most: int
    what: str


SCAN = Limit(2**31, "voxels in a scan")  # 1,024 x 1,024 x 2,000 and a little more
SLICE = Limit(2**24, "pixels in a slice")  # 4,096 x 4,096
UNPACKED = Limit(2**34, "bytes after unpacking")
MEMBERS = Limit(100_000, "files in an archive")
RATIO = Limit(200, "times the packed bytes after unpacking")
LIST = Limit(2**30, "bytes in a list")  # CSV, JSON, lines of names; memory takes ten times as much
_SMALL = 2**26  # bytes to which anything may be unpacked: of little content, ratios are high


def limit_problem(found: int, limit: Limit) -> str:
    """Return what is wrong if there is more than the limit allows, and what to do; else ""."""
    most = math.floor(limit.most * _factor())
    if found <= most:
        return ""
    return (
        f"found {found:,} {limit.what}, expected at most {most:,}: damaged, or no CT; if it is "
        f"right, raise all limits ({OPTION} {-(-found // limit.most)}, or {VARIABLE})"
    )


def check_limit(place: Any, found: int, limit: Limit) -> None:
    """Raise a ValueError that names the place if there is a `limit_problem`."""
    if problem := limit_problem(found, limit):
        raise ValueError(f"{place}: {problem}")


def check_list_size(path: Path) -> None:
    """Raise a ValueError if a CSV, JSON or text file is larger than any list."""
    check_limit(path, path.stat().st_size, LIST)


def check_unpacked(place: Any, packed: int, unpacked: int) -> None:
    """Raise a ValueError if so many bytes become too many others, or too many times as many."""
    check_limit(place, unpacked, UNPACKED)
    if unpacked > _SMALL:
        check_limit(place, -(-unpacked // max(1, packed)), RATIO)


def most_unpacked(packed: int) -> int:
    """Return the most bytes that so many packed ones may become."""
    return math.floor(min(UNPACKED.most, max(_SMALL, packed * RATIO.most)) * _factor())


def limits_are_raised() -> bool:
    """Return whether the user allows more than usual."""
    return _factor() > 1


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the option, which sets the environment variable."""
    ctmasknet_command.add_limits(parser, SetLimits)


class SetLimits(argparse.Action):
    """Sets the environment variable."""

    def __call__(self, parser: Any, namespace: Any, value: Any, option: Any = None) -> None:
        os.environ[VARIABLE] = value
        try:
            _factor()
        except ValueError as error:
            del os.environ[VARIABLE]
            parser.error(str(error))


def _factor() -> float:
    text = os.environ.get(VARIABLE, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < 1e9:
        raise ValueError(f"{VARIABLE} is {text!r}, expected a number, as 4 for four times as much")
    return factor
