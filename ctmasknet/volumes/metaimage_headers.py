"""Check a MetaImage header before ITK sees it: it crashes at some, and believes all sizes."""

import math
import re
import zlib
from pathlib import Path
from typing import BinaryIO

from ..limits import SCAN, check_limit, check_unpacked
from .data_files import HeaderError, data_beside, how_to_convert

# Bytes of a voxel, by MetaImage's names of types that hold one number.
_TYPES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG", "MET_ULONG", "MET_LONG_LONG", "MET_ULONG_LONG"), 8),
    "MET_DOUBLE": 8,
}
_LONGEST = 4096  # characters of a line
_MOST = 1 << 20  # bytes of a header
_CHUNK = 1 << 20
_NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?"
_COUNTS = {  # numbers of a field, by those of dimensions
    **dict.fromkeys(("Offset", "Origin", "Position", "ElementSpacing", "CenterOfRotation"), 1),
    **dict.fromkeys(("TransformMatrix", "Rotation", "Orientation"), 2),
}


def check_metaimage(path: Path) -> bool:
    """Raise a HeaderError, or ValueError, for a header that ITK is not to see, or lost pixels.

    Returns whether its pixels are not compressed, so that parts are read as fast as the whole.
    """
    with path.open("rb") as stream:
        fields = _fields(stream)
        start = stream.tell()
    dimensions = _whole_number(fields, "NDims", "", r"[2-9]")
    shape = fields.get("DimSize", "").split()
    if len(shape) != dimensions or not all(re.fullmatch(r"[1-9]\d{0,9}", x) for x in shape):
        raise _wrong(fields, "DimSize", f"{dimensions} whole numbers above 0")
    for key, power in _COUNTS.items():
        numbers = fields.get(key, "0 " * dimensions**power).split()
        usable = all(re.fullmatch(_NUMBER, x) and math.isfinite(float(x)) for x in numbers)
        if len(numbers) != dimensions**power or not usable:
            raise _wrong(fields, key, f"{dimensions**power} numbers")
    voxels = math.prod(map(int, shape))
    check_limit(path, voxels, SCAN)
    if (kind := fields.get("ElementType", "")) not in _TYPES:
        raise _wrong(fields, "ElementType", "one number for each voxel, as MET_SHORT")
    channels = _whole_number(fields, "ElementNumberOfChannels", "1", r"[1-9]\d{0,3}")
    skipped = _whole_number(fields, "HeaderSize", "0", r"-1|\d{1,12}")
    if fields.get("BinaryData", "True").lower() != "true":
        raise ValueError(f"{path}: its pixels are text, expected numbers: {how_to_convert(path)}")
    data = fields.get("ElementDataFile", "")
    local = data.upper() == "LOCAL"
    file = path if local else data_beside(path, data)
    start = (start if local else 0) + max(0, skipped)
    size = voxels * channels * _TYPES[kind]
    if fields.get("CompressedData", "False").lower() == "true":
        packed = _whole_number(fields, "CompressedDataSize", "0", r"\d{1,15}")
        if start and not packed:  # ITK takes the whole file for pixels
            raise _wrong(fields, "CompressedDataSize", "the bytes of the pixels")
        _check_packed(path, file, start, packed, size)
        return False
    _check_size(file.stat().st_size - start, size)
    return True


def _check_packed(path: Path, file: Path, start: int, packed: int, size: int) -> None:
    """Check that compressed pixels are all there: ITK takes what it finds, and prints the rest."""
    found = file.stat().st_size - start
    _check_size(found, packed)
    check_unpacked(path, packed or found, size)
    unpacked, left, inflate = 0, packed or found, zlib.decompressobj()
    with file.open("rb") as stream:
        stream.seek(start)
        try:
            while unpacked < size:
                if not (chunk := inflate.unconsumed_tail):
                    chunk = stream.read(min(_CHUNK, left))  # ITK, too, takes what is stated
                    left -= len(chunk)
                if not chunk:
                    break
                unpacked += len(inflate.decompress(chunk, _CHUNK))
        except zlib.error as error:
            raise HeaderError(str(error)) from None
    _check_size(unpacked, size)


def _check_size(found: int, expected: int) -> None:
    if found < expected:
        raise HeaderError(f"found {found} bytes of pixels, expected {expected}")


def _fields(stream: BinaryIO) -> dict[str, str]:
    """Return the "key = value" lines up to ElementDataFile."""
    fields: dict[str, str] = {}
    while line := stream.readline(_LONGEST):
        if not line.endswith(b"\n") or stream.tell() > _MOST:
            break
        key, sign, value = (part.strip() for part in line.decode("latin-1").partition("="))
        if not line.strip():
            continue
        if not sign or not re.fullmatch(r"\w+", key) or "\0" in value:
            raise HeaderError(f"found the line {line[:60]!r} in the header")
        if key in fields:
            raise HeaderError(f"found {key} twice in the header")
        fields[key] = value
        if key == "ElementDataFile":
            return fields
    raise HeaderError("found no ElementDataFile in the header")


def _whole_number(fields: dict[str, str], key: str, usual: str, pattern: str) -> int:
    text = fields.get(key, usual)
    if not re.fullmatch(pattern, text):
        raise _wrong(fields, key, "a whole number")
    return int(text)


def _wrong(fields: dict[str, str], key: str, expected: str) -> HeaderError:
    return HeaderError(f"found the {key} {fields.get(key, '')[:60]!r}, expected {expected}")
