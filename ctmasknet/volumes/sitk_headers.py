"""Checks of NIfTI, MetaImage and NRRD files that SimpleITK's readers do not make."""

import gzip
import math
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..data.images import require_readable, what_else_it_is
from ..errors import ErrorPolicy
from . import sitk

_FLOATS = {16: "f4", 64: "f8"}  # NIfTI's datatype codes
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20  # voxels, or bytes
_METAIMAGE = ("NDims", "DimSize", "ElementType", "ElementDataFile")  # which its header must have
_MAX_HEADER = 1 << 20  # bytes of a MetaImage header; what has none may be one long line
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
    header = {key: reader.GetMetaData(key).strip() for key in reader.GetMetaDataKeys()}
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
                with gzip.open(path) as stream, plain.open("wb") as out:
                    _copy(stream, out)
            else:
                plain.symlink_to(path.absolute())
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            found = found or f"{error}, {path.stat().st_size} bytes"
            raise ValueError(
                f"{path}: cannot be decompressed ({found}): truncated or damaged; copy it again"
            ) from None
        yield plain


def _copy(stream: gzip.GzipFile, out: BinaryIO) -> None:
    """Copy the content of a gzip; what else follows a whole one is left out, as gunzip does."""
    try:
        while chunk := stream.read1(_CHUNK):  # read() would lose what comes before an error
            out.write(chunk)
    except gzip.BadGzipFile as error:
        if not (out.tell() and "Not a gzipped file" in str(error)):
            raise


def _is_nifti(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) in (b"\x5c\1\0\0", b"\0\0\1\x5c")  # 348, the header's length


def read_nifti_header(stream: BinaryIO, path: Path) -> np.ndarray:
    """Return the header (1,) of NIfTI-1 in its byte order; messages name `path`."""
    header = np.frombuffer(stream.read(_NIFTI.itemsize).ljust(_NIFTI.itemsize, b"\0"), _NIFTI)
    if (header["length"] != _NIFTI.itemsize).any():
        header = header.view(_NIFTI.newbyteorder())
    if header["length"].tolist() != [_NIFTI.itemsize]:
        raise ValueError(f"{path}: found no NIfTI-1 header; convert it again")
    return header


def nifti_floats(plain: Path, path: Path) -> Iterator[np.ndarray]:
    """Yield the voxels of a NIfTI file (N,) as stored, x fastest; none if they are integers.

    SimpleITK silently turns NaN into 0. `plain` is the uncompressed file, messages name `path`.
    """
    with plain.open("rb") as stream:
        header = read_nifti_header(stream, path)
        kind, size = int(header["datatype"][0]), header["dim"][0]
        if kind not in _FLOATS:
            return
        dtype = np.dtype(_FLOATS[kind]).newbyteorder(header.dtype["length"].byteorder)
        count = int(np.prod(size[1 : 1 + int(size[0])], dtype=np.int64))
        stream.seek(int(header["vox_offset"][0]))
        for start in range(0, count, _CHUNK):
            yield np.fromfile(stream, dtype, min(_CHUNK, count - start))


def open_metaimage(path: Path, reader: "sitk.ImageFileReader") -> bool:
    """Have a reader read the header of a MetaImage, and check that all pixels are there.

    ITK prints to stderr where it meets a fault, and blames a missing file if pixels are missing.
    Return whether it is one uncompressed file, of which parts can be read as fast as the whole. A
    ValueError: no header, or missing pixels. A RuntimeError of ITK: another fault.
    """
    fields, end = _metaimage_fields(path)
    if missing := [key for key in _METAIMAGE if key not in fields]:
        found = what_else_it_is(path) or f"no {', '.join(missing)} in its header"
        raise ValueError(
            f"{path}: cannot be read as {path.suffix.lower()} ({found}): damaged, incomplete or "
            "another format; copy or convert it again"
        )
    reader.SetImageIO("MetaImageIO")  # which SimpleITK knows by small letters alone
    reader.ReadImageInformation()
    voxel = sitk.Image([1, 1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
    return _has_pixels(path, fields, end, math.prod(reader.GetSize()) * voxel)


def _has_pixels(path: Path, fields: dict[str, str], end: int, size: int) -> bool:
    """Do as `open_metaimage` for a header of `end` bytes and `size` bytes of pixels."""
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


def _metaimage_fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the "key = value" lines up to ElementDataFile, and their length in bytes."""
    fields = {}
    with path.open("rb") as stream:
        while stream.tell() < _MAX_HEADER and (line := stream.readline(_MAX_HEADER)):
            key, _, value = (part.strip() for part in line.decode("latin-1").partition("="))
            fields[key] = value
            if key == "ElementDataFile":
                break
        return fields, stream.tell()
