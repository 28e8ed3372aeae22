"""Whether a MetaImage file has its pixels, before ITK reads it.

Of missing ones ITK prints lines of its own to stderr, and its error blames a missing file.
"""

from __future__ import annotations

from pathlib import Path

from ..data.images import require_readable

_MAX_HEADER = 1 << 20  # bytes; what has none may be one long line


def check_pixels(path: Path, size: int) -> bool:
    """Check that the pixels of a .mha or .mhd file are all there, as far as the header tells.

    Args:
        path: of the file, which ITK takes for a MetaImage.
        size: of the pixels without compression, in bytes.

    Returns:
        Whether it is one uncompressed file, of which parts can be read as fast as the whole.

    Raises:
        ValueError: pixels, or the file that a .mhd names, are missing.
    """
    fields, end = _read_header(path)
    data = fields.get("ElementDataFile", "")
    text = fields.get("BinaryData", "").lower() == "false"
    if not data or data.startswith("LIST") or "%" in data or text:  # rare, and left to ITK
        return False
    local = data.upper() == "LOCAL"
    file = path if local else path.parent / data
    try:
        require_readable(file)
    except FileNotFoundError:
        raise ValueError(
            f"{path}: found no file {data} beside it, expected its pixels there: copy both files"
        ) from None
    compressed = fields.get("CompressedData", "").lower() == "true"
    if compressed:
        size = int(fields.get("CompressedDataSize") or 0)
    found = file.stat().st_size - (end if local else 0)
    if found < size:
        raise ValueError(
            f"{path}: cannot be read as {path.suffix.lower()} (found {found} bytes of pixels, "
            f"expected {size}): truncated; copy or convert it again"
        )
    return not compressed


def _read_header(path: Path) -> tuple[dict[str, str], int]:
    """The "key = value" lines, of which ElementDataFile is the last, and their length in bytes."""
    fields = {}
    with path.open("rb") as stream:
        while stream.tell() < _MAX_HEADER and (line := stream.readline(_MAX_HEADER)):
            key, _, value = (part.strip() for part in line.decode("latin-1").partition("="))
            fields[key] = value
            if key == "ElementDataFile":
                break
        return fields, stream.tell()
