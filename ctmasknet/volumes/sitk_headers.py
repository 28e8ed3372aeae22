"""Checks of NIfTI files, and of all that SimpleITK has read the header of."""

import gzip
import io
import math
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..data.images import what_else_it_is
from ..errors import ErrorPolicy
from ..limits import SCAN, check_limit, check_unpacked, most_unpacked
from . import sitk
from .data_files import HeaderError

_FLOATS = {16: "f4", 64: "f8"}  # NIfTI's datatype codes
# Bytes of a voxel by these codes; of colours and complex numbers, too.
_SIZES = {
    **{2: 1, 256: 1, 4: 2, 512: 2, 8: 4, 16: 4, 768: 4, 64: 8, 1024: 8, 1280: 8},
    **{128: 3, 2304: 4, 32: 8, 1536: 16, 1792: 16, 2048: 32},
}
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20  # voxels, or bytes
# What is read of a NIfTI-1 header; SimpleITK does not read NIfTI-2.
_NIFTI = np.dtype(
    {
        "names": ["length", "dim", "datatype", "pixdim", "vox_offset", "sform_code", "sform"],
        "formats": ["i4", "8i2", "i2", "8f4", "f4", "i2", "(3,4)f4"],
        "offsets": [0, 40, 70, 76, 108, 254, 280],
        "itemsize": 348,
    }
)


def check_header(path: Path, reader: "sitk.ImageFileReader", errors: ErrorPolicy) -> None:
    """Check that a file has three dimensions, one value a voxel and a known orientation.

    The reader has read the file's information. An unknown orientation is an error to handle, the
    others are ValueErrors.
    """
    size = reader.GetSize()
    if not (len(size) == 3 or (len(size) == 4 and size[3] == 1)):
        raise ValueError(
            f"{path}: found {len(size)} dimensions ({' x '.join(map(str, size))}), expected 3: "
            "save one volume as a file of its own"
        )
    pixel = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if not pixel[0].isdigit():  # "16-bit signed integer", and not "vector of ..."
        raise ValueError(
            f"{path}: found pixels of type '{pixel}', expected one HU for each voxel: save a "
            "single channel, or convert the DICOM series again"
        )
    known = ("NRRD_space", "qform_code", "sform_code")  # others may be no text
    header = {key: reader.GetMetaData(key).strip() for key in known if reader.HasMetaDataKey(key)}
    missing = ""  # as for MetaImage, which always has an orientation
    if path.suffix.lower() in (".nrrd", ".nhdr") and "NRRD_space" not in header:
        missing = "no 'space'"
    if {header.get("qform_code"), header.get("sform_code")} == {"0"}:
        missing = "neither qform nor sform"
    if missing:
        errors.handle(
            f"{path}: found {missing} in the header, so its orientation is unknown: convert it "
            "again from the DICOM series"
        )


@contextmanager
def unpacked_nifti(path: Path) -> Iterator[Path]:
    """Yield the path of an uncompressed NIfTI: the file itself, a temporary link or copy.

    The first bytes tell whether it is compressed, as names are often wrong. Of a truncated .nii.gz
    SimpleITK silently returns what it could decompress; here that and a wrong checksum are
    ValueErrors.
    """
    with path.open("rb") as stream:
        packed = stream.read(2) == _GZIP
    suffix = path.suffix.lower()
    # ITK takes no capitals among small letters.
    if not packed and (suffix not in (".nii", ".gz") or path.suffix == ".nii"):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="ctmasknet-") as folder:
        plain = Path(folder, "volume.nii")
        try:
            found = what_else_it_is(path)  # gzip takes an empty file for an empty volume
            if found or not (packed or suffix == ".nii" or _is_nifti(path)):
                raise EOFError(found or "no gzip file")
            if packed:
                _unpack(path, plain)
            else:
                plain.symlink_to(path.absolute())
        except (EOFError, HeaderError, gzip.BadGzipFile, zlib.error) as error:
            found = found or f"{error}, {path.stat().st_size} bytes"
            raise ValueError(
                f"{path}: cannot be decompressed ({found}): truncated or damaged; copy it again"
            ) from None
        yield plain


def _unpack(path: Path, plain: Path) -> None:
    """Unpack a .nii.gz, after its header has told how much that will be."""
    size = path.stat().st_size
    with gzip.open(path) as stream:
        start = stream.read(_NIFTI.itemsize)
        check_unpacked(path, size, nifti_size(read_nifti_header(io.BytesIO(start)), path))
        most = most_unpacked(size)
        with plain.open("wb") as out:
            out.write(start)
            for chunk in _chunks(stream):
                out.write(chunk)
                if out.tell() > most:
                    check_unpacked(path, size, out.tell())


def _chunks(stream: gzip.GzipFile) -> Iterator[bytes]:
    """Yield the rest of a gzip; what else follows a whole one is left out, as gunzip does."""
    try:
        while chunk := stream.read1(_CHUNK):  # read() would lose what comes before an error
            yield chunk
    except gzip.BadGzipFile as error:
        if "Not a gzipped file" not in str(error):
            raise


def nifti_size(header: np.ndarray, path: Path) -> int:
    """Return the bytes of a NIfTI file by its header; a ValueError if they cannot be."""
    size, kind = header["dim"][0].tolist(), int(header["datatype"][0])
    start = float(header["vox_offset"][0])
    shape = size[1 : 1 + size[0]]
    if not (1 <= size[0] <= 7 and all(length > 0 for length in shape)):
        raise HeaderError(f"found the dimensions {size}")
    if not (0 <= start < 2**31 and kind in _SIZES):
        raise HeaderError(f"found voxels of the data type {kind} from byte {start:g} on")
    check_limit(path, math.prod(shape), SCAN)
    return int(start) + math.prod(shape) * _SIZES[kind]


def check_nifti(plain: Path, path: Path) -> None:
    """Raise a HeaderError, or ValueError, for a header that cannot be right, or lost pixels."""
    with plain.open("rb") as stream:
        header = read_nifti_header(stream)
    found, size = plain.stat().st_size, nifti_size(header, path)
    if found < size:
        raise HeaderError(f"found {found} bytes, expected {size}")
    places = np.concatenate([header["pixdim"].ravel(), header["sform"].ravel()])
    if not np.isfinite(places).all():
        raise HeaderError("found places that are no numbers")


def _is_nifti(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) in (b"\x5c\1\0\0", b"\0\0\1\x5c")  # 348, the header's length


def read_nifti_header(stream: BinaryIO) -> np.ndarray:
    """Return the header (1,) of NIfTI-1 in its byte order; a HeaderError if it is none."""
    header = np.frombuffer(stream.read(_NIFTI.itemsize).ljust(_NIFTI.itemsize, b"\0"), _NIFTI)
    if (header["length"] != _NIFTI.itemsize).any():
        header = header.view(_NIFTI.newbyteorder())
    if header["length"].tolist() != [_NIFTI.itemsize]:
        raise HeaderError("found no NIfTI-1 header")
    return header


def nifti_floats(plain: Path, path: Path) -> Iterator[np.ndarray]:
    """Yield the voxels of a NIfTI file (N,) as stored, x fastest; none if they are integers.

    SimpleITK silently turns NaN into 0. `plain` is the uncompressed file, messages name `path`.
    """
    with plain.open("rb") as stream:
        header = read_nifti_header(stream)
        kind, size = int(header["datatype"][0]), header["dim"][0]
        if kind not in _FLOATS:
            return
        dtype = np.dtype(_FLOATS[kind]).newbyteorder(header.dtype["length"].byteorder)
        count = int(np.prod(size[1 : 1 + int(size[0])], dtype=np.int64))
        stream.seek(int(header["vox_offset"][0]))
        for start in range(0, count, _CHUNK):
            yield np.fromfile(stream, dtype, min(_CHUNK, count - start))
