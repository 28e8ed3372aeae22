"""Changes to files and to what is in them, the same for the same random numbers."""

import copy
import math
import random
import re
import struct
from collections.abc import Callable
from typing import Any

_NUMBERS = (-1, 0, 1, 2, 3, 255, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63)
_TEXTS = (
    *("", "0", "-1", "0.5", "1e308", "nan", "inf", "65535", "99999999", "9" * 60, "a" * 3000),
    *("\0", "../../a", "/dev/zero", "é", "1 2", "[1, 2]", "!!python/name:os.system", "*a", "&a"),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, [], {}, [[]], {"a": 1}, [0, 0, 0, 0], 0.5, -1e308, math.nan, math.inf),
    *(_NUMBERS + _TEXTS),
)
_MOST_BYTES = 1 << 20
_HEAD = 600  # bytes in which most headers lie


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with one to four changes, half of them where headers lie."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        if changed:
            end = len(changed) if rng.random() < 0.5 else min(_HEAD, len(changed))
            rng.choice(_CHANGES)(changed, rng.randrange(end), rng)
    return bytes(changed[:_MOST_BYTES])


def _flip_bit(data: bytearray, place: int, rng: random.Random) -> None:
    data[place] ^= 1 << rng.randrange(8)


def _set_run(data: bytearray, place: int, rng: random.Random) -> None:
    run = rng.choice((1, 2, 4, 8, 64, 1000))
    value = rng.choice((0, 0xFF, 0x20, 0x39, rng.randrange(256)))
    data[place : place + run] = bytes([value]) * min(run, len(data) - place)


def _set_number(data: bytearray, place: int, rng: random.Random) -> None:
    kind = rng.choice(("<h", "<i", "<q", ">h", ">i", ">q", "<f", ">f"))
    number: float = rng.choice((*_NUMBERS, rng.randrange(2**16)))
    if kind[1] == "f":
        number = rng.choice((float(number), -1.0, math.nan, math.inf, 1e-30, 1e30))
    else:
        bits = 8 * struct.calcsize(kind)
        number = (int(number) + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)  # wraps around
    packed = struct.pack(kind, number)
    data[place : place + len(packed)] = packed


def _set_digits(data: bytearray, place: int, rng: random.Random) -> None:
    """Replace a number that is written in digits, at or after a place."""
    if found := re.compile(rb"-?\d+(\.\d+)?").search(data, place):
        data[found.start() : found.end()] = rng.choice((*_NUMBERS, *_TEXTS)).__str__().encode()


def _cut(data: bytearray, place: int, rng: random.Random) -> None:
    del data[place:]


def _remove(data: bytearray, place: int, rng: random.Random) -> None:
    del data[place : place + rng.choice((1, 2, 8, 100))]


def _insert(data: bytearray, place: int, rng: random.Random) -> None:
    made = rng.choice((rng.randbytes(rng.choice((1, 4, 50))), rng.choice(_TEXTS).encode()))
    data[place:place] = made * rng.choice((1, 1, 1, 3))


def _repeat(data: bytearray, place: int, rng: random.Random) -> None:
    part = data[place : place + rng.choice((4, 20, 200))]
    other = rng.randrange(len(data))
    data[other:other] = part * rng.choice((1, 1, 10))


def _swap_lines(data: bytearray, place: int, rng: random.Random) -> None:
    lines = data.split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    data[:] = b"\n".join(lines)


_CHANGES: tuple[Callable[[bytearray, int, random.Random], None], ...] = (
    *(_flip_bit, _set_run, _set_number, _set_digits, _cut, _remove, _insert, _repeat, _swap_lines),
    *(_set_number, _set_digits),
)


def mutate_content(content: Any, rng: random.Random, values: tuple[Any, ...] = ()) -> Any:
    """Return a copy of dicts and lists in which one to three entries are changed.

    `values` are put in place of others, beside those that trouble any reader.
    """
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(content))
        if not places:
            return content
        parent, key = rng.choice(places)
        match rng.randrange(6):
            case 0:
                del parent[key]
            case 1:
                other, other_key = rng.choice(places)
                parent[key] = copy.deepcopy(other.get(other_key) if isinstance(other, dict) else 0)
            case 2 if isinstance(parent, list):
                parent.insert(key, copy.deepcopy(parent[key]))
            case 3 if isinstance(parent, dict):
                parent[rng.choice((rng.choice(_TEXTS), 1, "id", "name"))] = parent.pop(key)
            case 4 if isinstance(parent[key], int | float):
                parent[key] = rng.choice((-parent[key], parent[key] + 1, parent[key] * 1000, 0.5))
            case _:
                parent[key] = rng.choice(rng.choice((values or _VALUES, _VALUES)))
    return content


def _places(content: Any) -> Any:
    """Yield each dict or list with each of its keys."""
    keys: Any = ()
    if isinstance(content, dict):
        keys = list(content)
    elif isinstance(content, list):
        keys = range(len(content))
    for key in keys:
        yield content, key
        yield from _places(content[key])
