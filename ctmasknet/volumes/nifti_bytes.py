"""What SimpleITK's NIfTI reader hides: damaged compression, and values that are not numbers.

It returns whatever it could decompress of a truncated .nii.gz, and turns NaN into 0, both without
a word.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..data.images import what_else_it_is

_FLOATS = {16: "f4", 64: "f8"}  # NIfTI's datatype codes
# Of NIfTI-1 and -2, by the header's length: type and offset of datatype, dim and vox_offset.
_FIELDS = {
    348: (("i2", 70), ("i2", 40), ("f4", 108)),
    540: (("i2", 12), ("i8", 16), ("i8", 168)),
}


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A NIfTI file without compression: the file itself, or for a while a temporary copy.

    Raises:
        ValueError: the compressed file is truncated or damaged (its checksum is wrong).
    """
    if path.suffix.lower() != ".gz":
        yield path
        return
    said = what_else_it_is(path)  # gzip takes an empty file for an empty volume
    if said:
        raise _damaged(path, said)
    with tempfile.TemporaryDirectory(prefix="ctmasknet-") as folder:
        plain = Path(folder, "volume.nii")
        try:
            with gzip.open(path) as packed, plain.open("wb") as stream:
                shutil.copyfileobj(packed, stream, 1 << 20)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _damaged(path, f"{error}, {path.stat().st_size} bytes") from None
        yield plain


def _damaged(path: Path, found: str) -> ValueError:
    return ValueError(
        f"{path}: cannot be decompressed ({found}): truncated or damaged; copy it again"
    )


def not_finite(plain: Path, path: Path) -> np.ndarray:
    """The voxels of an uncompressed NIfTI file that are NaN or infinite.

    Args:
        plain: the file.
        path: of the file that it was unpacked from, for messages.

    Returns:
        (N,) int64, positions in the file's order (x fastest); none for integers.
    """
    with plain.open("rb") as stream:
        header = stream.read(540)
        order = "<" if int.from_bytes(header[:4], "little") in _FIELDS else ">"
        length = int(np.frombuffer(header, f"{order}i4", 1)[0])
        if length not in _FIELDS:
            raise ValueError(f"{path}: found no NIfTI header; convert it again")
        kind, size, start = (
            np.frombuffer(header, order + dtype, 8 if field == 1 else 1, offset)
            for field, (dtype, offset) in enumerate(_FIELDS[length])
        )
        if int(kind[0]) not in _FLOATS:
            return np.empty(0, np.int64)
        count = int(np.prod(size[1 : 1 + int(size[0])], dtype=np.int64))
        stream.seek(int(start[0]))
        found = [np.empty(0, np.int64)]
        chunk = 1 << 20
        for first in range(0, count, chunk):
            values = np.fromfile(stream, order + _FLOATS[int(kind[0])], min(chunk, count - first))
            found.append(np.flatnonzero(~np.isfinite(values)) + first)
    return np.concatenate(found)
