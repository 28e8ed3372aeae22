"""How many bytes of pixels a DICOM file has: of missing ones GDCM returns whatever memory holds."""

import io
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from ..limits import check_unpacked, most_unpacked

_PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))  # of floats, of doubles, of whole numbers
_UNDEFINED = 0xFFFFFFFF
_ITEM, _END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
# Kinds of elements (VR): those whose length has 32 bits, and all.
_LONG = frozenset(re.findall("..", "OBODOFOLOVOWSQSVUCUNURUTUV"))
_KINDS = _LONG | frozenset(re.findall("..", "AEASATCSDADSDTFDFLISLOLTPNSHSLSSSTTMUIULUS"))
_CUT = "found the end of the file amid its pixels"
_DEFLATED, _PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"  # transfer syntaxes
_BIG_ENDIAN = b"1.2.840.10008.1.2.2\0"
_SMALL = 1 << 26  # bytes that may be asked for in vain: other programs are not strict about ends
_MOST_META = 4096  # bytes in which the transfer syntax stands
_CHUNK = 1 << 20


class PixelData:
    """Where the pixels begin in a file, as pydicom finds them."""

    def __init__(self) -> None:
        self._stream: Any = None
        self._start, self._length, self._end = 0, 0, 0
        self._kinds_stated, self._order = True, "<"

    def watch(self, stream: BinaryIO, path: Path) -> Any:
        """Return what pydicom is to read: a file, or an inflated copy of one that is deflated."""
        stream.seek(0)
        head = stream.read(_MOST_META)
        stream.seek(0)
        self._stream, self._end = stream, os.fstat(stream.fileno()).st_size
        self._check_meta(head)
        self._order = ">" if _BIG_ENDIAN in head else "<"
        if _DEFLATED in head:
            self._stream = _inflated(stream, path)
            self._end = len(self._stream.getvalue())
        return self._stream

    def is_here(self, tag: int, kind: str | None, length: int) -> bool:
        """Tell pydicom, which has just read the head of an element, to stop at the pixels."""
        if int(tag) not in _PIXELS:  # pydicom's tags compare slowly
            if length:  # it also asks with 0 where it only guesses whether kinds are stated
                self._check(tag, kind, length)
            return False
        self._start, self._length = self._stream.tell(), length
        self._kinds_stated = kind is not None
        return True

    def problem(self, expected: int) -> str:
        """Return why pixels are missing of those that need so many bytes uncompressed, or ""."""
        left = self._end - self._start
        if self._length == _UNDEFINED:
            return self._problem_behind(self._stream.tell()) if self._has_all_items() else _CUT
        if self._length > max(left, _SMALL):  # GDCM takes it for deflated files
            return f"found {left} bytes of {self._length} that are stated"
        found = max(0, min(self._length, left)) if self._start else 0
        if found < expected:
            return f"found {found} bytes of pixels, expected {expected}"
        return self._problem_behind(self._start + self._length)

    def _problem_behind(self, place: int) -> str:
        """Return what is wrong with elements behind the pixels, whose lengths GDCM believes, too.

        Ends of sequences and items, without a kind, have a length of 32 bits; what is in them is
        looked at as if it were not in them.
        """
        while place + 8 <= self._end:
            self._stream.seek(place)
            head = self._stream.read(12).ljust(12, b"\0")
            if not any(head):  # padding
                return ""
            group, element, kind, length = struct.unpack(f"{self._order}HH2sH", head[:8])
            place, name = place + 8, kind.decode("latin-1")
            if not self._kinds_stated or group == _ITEM[0]:
                (length,) = struct.unpack(f"{self._order}L", head[4:8])
            elif name in _LONG or name not in _KINDS:
                place, (length,) = place + 4, struct.unpack(f"{self._order}L", head[8:])
            inside = group == _ITEM[0] or name == "SQ" or length == _UNDEFINED
            if length != _UNDEFINED and length > max(self._end - place, _SMALL):
                return f"element {group:04X}{element:04X} of {length} bytes behind the pixels"
            place += 0 if inside else length
        return ""

    def _check(self, tag: int, kind: str | None, length: int) -> None:
        """Raise a ValueError for an element that is longer than the file: GDCM takes its memory."""
        place = self._stream.tell()
        if kind is not None and kind not in _KINDS:  # GDCM takes what follows for its length
            length = int.from_bytes(self._stream.read(4), "little")
            self._stream.seek(place)
        if length != _UNDEFINED and place + length > self._end:
            raise ValueError(f"element {tag:08X} of {length} bytes")

    def _check_meta(self, head: bytes) -> None:
        """Check the elements of group 2 in the same way; their kinds are always stated."""
        place = 132 if head[128:132] == b"DICM" else 0
        while head[place : place + 2] == b"\2\0" and len(head) >= place + 12:
            _, element, kind, length, long = struct.unpack_from("<HH2sHL", head, place)
            place += 8
            if (name := kind.decode("latin-1")) not in _KINDS or name in _LONG:
                place, length = place + 4, long
            if place + length > self._end:
                raise ValueError(f"element 0002{element:04X} of {length} bytes")
            place += length

    def _has_all_items(self) -> bool:
        """Walk through the compressed pixels, which are in items of stated lengths.

        Some archives leave out the mark behind the items, or write zeros for it. This is taken for
        the end if there is one item of pixels: of several, one may have been cut off.
        """
        self._stream.seek(self._start)
        items = 0  # the first is a table
        while any(head := self._stream.read(8)):
            group, element, length = struct.unpack("<HHL", head.ljust(8, b"\0"))
            if (group, element) == _END and len(head) == 8:
                return True
            if (group, element) != _ITEM or self._stream.tell() + length > self._end:
                return False
            self._stream.seek(length, os.SEEK_CUR)
            items += 1
        return items == 2 and not any(self._stream.read())


def _inflated(stream: BinaryIO, path: Path) -> io.BytesIO:
    """Return a deflated file as a plain one; a ValueError if that is beyond the limits."""
    from pydicom.filereader import read_dataset

    stream.seek(132 if stream.read(132)[128:] == b"DICM" else 0)
    read_dataset(stream, False, True, stop_when=lambda tag, kind, length: tag >> 16 != 2)
    start, packed = stream.tell(), path.stat().st_size
    stream.seek(0)
    plain = io.BytesIO(stream.read(start).replace(_DEFLATED, _PLAIN))
    plain.seek(0, os.SEEK_END)
    inflate, most = zlib.decompressobj(-zlib.MAX_WBITS), most_unpacked(packed)
    while chunk := inflate.unconsumed_tail or stream.read(_CHUNK):
        plain.write(inflate.decompress(chunk, _CHUNK))
        if plain.tell() > most:
            check_unpacked(path, packed, plain.tell())
    plain.seek(0)
    return plain
