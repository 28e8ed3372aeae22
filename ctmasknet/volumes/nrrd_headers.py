"""Check a NRRD header before ITK sees it: its parser crashes at some, and believes all sizes."""

import math
import re
from pathlib import Path
from typing import BinaryIO

from ..limits import SCAN, check_limit, check_unpacked
from .data_files import HeaderError, data_beside

# Bytes of a voxel, by the names of types that hold one number.
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8"), 1),
    **dict.fromkeys(("uint8_t",), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16"), 2),
    **dict.fromkeys(("int16_t", "ushort", "unsigned short", "unsigned short int", "uint16"), 2),
    **dict.fromkeys(("uint16_t",), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int"), 4),
    **dict.fromkeys(("uint32", "uint32_t", "float"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long"), 8),
    **dict.fromkeys(("signed long long int", "int64", "int64_t", "ulonglong"), 8),
    **dict.fromkeys(("unsigned long long", "unsigned long long int", "uint64", "uint64_t"), 8),
    "double": 8,
}
_FIELDS = {
    *("content", "number", "type", "blocksize", "dimension", "space", "spacedimension", "sizes"),
    *(
        "spacings",
        "thicknesses",
        "axismins",
        "axismaxs",
        "spacedirections",
        "centers",
        "centerings",
    ),
    *("kinds", "labels", "units", "min", "max", "oldmin", "oldmax", "endian", "encoding"),
    *("lineskip", "byteskip", "sampleunits", "spaceunits", "spaceorigin", "measurementframe"),
    "datafile",
}
_LONGEST = 400  # characters of a field: the parser writes some into 512
_MOST = 1 << 20  # bytes of a header
_RAW, _PACKED = ("raw",), ("gzip", "gz")


def check_nrrd(path: Path) -> None:
    """Raise a HeaderError, or ValueError, for a header that ITK is not to see."""
    with path.open("rb") as stream:
        fields = _fields(stream)
        start = stream.tell()
    shape = _whole_numbers(fields, "sizes")
    if _whole_numbers(fields, "dimension") != [len(shape)]:
        raise _wrong("dimension", fields.get("dimension", ""), f"{len(shape)} as of sizes")
    check_limit(path, math.prod(shape), SCAN)
    kind = fields.get("type", "").lower()
    if kind not in _TYPES:
        raise _wrong("type", kind, "one number for each voxel, as int16")
    encoding = fields.get("encoding", "").lower()
    if encoding not in _RAW + _PACKED:
        raise _wrong("encoding", encoding, "raw or gzip")
    file = path
    if "datafile" in fields:
        file, start = data_beside(path, fields["datafile"]), 0
    for skip in ("lineskip", "byteskip"):
        if not re.fullmatch(r"-1|\d{1,9}", fields.get(skip, "0")):
            raise _wrong(skip, fields[skip], "a whole number")
    found, size = file.stat().st_size - start, math.prod(shape) * _TYPES[kind]
    if encoding in _PACKED:
        check_unpacked(path, found, size)
    elif found < size:
        raise HeaderError(f"found {found} bytes of pixels, expected {size}")


def _fields(stream: BinaryIO) -> dict[str, str]:
    """Return field -> value, names without spaces as the format takes them; up to a blank line."""
    if not re.fullmatch(rb"NRRD000[1-5]\r?\n", stream.readline(16)):
        raise HeaderError("found no NRRD0001 to NRRD0005 at its start")
    fields: dict[str, str] = {}
    while (line := stream.readline(_MOST)).strip(b"\r\n"):
        if stream.tell() >= _MOST:
            raise HeaderError(f"found a header of more than {_MOST} bytes")
        text = line.decode("latin-1").rstrip("\r\n")
        if text.startswith("#") or ":=" in text:
            continue
        name, colon, value = text.partition(":")
        key = re.sub(r"\s", "", name.lower())
        if not colon or key not in _FIELDS or key in fields:
            raise HeaderError(f"found the line {text[:60]!r} in the header")
        if len(text) > _LONGEST and key != "content":
            raise HeaderError(f"found a {key} of {len(text)} characters")
        fields[key] = value.strip()
    return fields


def _whole_numbers(fields: dict[str, str], key: str) -> list[int]:
    text = fields.get(key, "")
    if not re.fullmatch(r"[1-9]\d{0,9}( +[1-9]\d{0,9}){0,15}", text):
        raise _wrong(key, text, "whole numbers above 0")
    return [int(number) for number in text.split()]


def _wrong(key: str, found: str, expected: str) -> HeaderError:
    return HeaderError(f"found the {key} {found[:60]!r}, expected {expected}")
