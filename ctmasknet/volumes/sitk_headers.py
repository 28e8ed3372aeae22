"""What is checked of NIfTI, MetaImage and NRRD files besides what SimpleITK's readers tell."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from ..data.images import require_readable, what_else_it_is
from ..errors import ErrorPolicy

_FLOATS = {16: "f4", 64: "f8"}  # NIfTI's datatype codes
_CHUNK = 1 << 20  # voxels, or bytes
_MAX_HEADER = 1 << 20  # bytes of a MetaImage header; what has none may be one long line


# Of NIfTI-1 and -2, by the header's length.
_NIFTI = {
    length: np.dtype({"names": names, "formats": formats, "offsets": offsets})
    for names in [("datatype", "dim", "vox_offset")]
    for length, formats, offsets in [
        (348, ("i2", "8i2", "f4"), (70, 40, 108)),
        (540, ("i2", "8i8", "i8"), (12, 16, 168)),
    ]
}


def check_header(path: Path, reader: sitk.ImageFileReader, errors: ErrorPolicy) -> None:
    """Check that a file has three dimensions, one value a voxel and an orientation.

    Args:
        path: of the file.
        reader: has read its information.
        errors: of an unknown orientation.

    Raises:
        ValueError: what was found instead.
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
    missing = ""  # of MetaImage, which has no such keys and always an orientation
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
    """Give a NIfTI file without compression: the file itself, or for a while a temporary copy.

    SimpleITK returns whatever it could decompress of a truncated .nii.gz without a word.

    Raises:
        ValueError: the compressed file is truncated or damaged (its checksum is wrong).
    """
    if path.suffix.lower() != ".gz":
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="ctmasknet-") as folder:
        plain = Path(folder, "volume.nii")
        try:
            if found := what_else_it_is(path):  # gzip takes an empty file for an empty volume
                raise EOFError(found)
            with gzip.open(path) as packed, plain.open("wb") as stream:
                shutil.copyfileobj(packed, stream, _CHUNK)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            found = found or f"{error}, {path.stat().st_size} bytes"
            raise ValueError(
                f"{path}: cannot be decompressed ({found}): truncated or damaged; copy it again"
            ) from None
        yield plain


def nifti_floats(plain: Path, path: Path) -> Iterator[np.ndarray]:
    """Read the voxels of a NIfTI file as they are stored, in the file's order (x fastest).

    SimpleITK turns NaN into 0 without a word.

    Args:
        plain: the uncompressed file.
        path: to name in messages.

    Yields:
        (N,) float32 or float64; nothing of a file that stores integers.
    """
    with plain.open("rb") as stream:
        head = stream.read(540)
        order: Literal["little", "big"] = "little"
        if int.from_bytes(head[:4], order) not in _NIFTI:
            order = "big"
        length = int.from_bytes(head[:4], order)
        if length not in _NIFTI or len(head) < length:
            raise ValueError(f"{path}: found no NIfTI header; convert it again")
        header = np.frombuffer(head, _NIFTI[length].newbyteorder(order), 1)[0]
        kind, size = int(header["datatype"]), header["dim"]
        if kind not in _FLOATS:
            return
        dtype = np.dtype(_FLOATS[kind]).newbyteorder(order)
        count = int(np.prod(size[1 : 1 + int(size[0])], dtype=np.int64))
        stream.seek(int(header["vox_offset"]))
        for start in range(0, count, _CHUNK):
            yield np.fromfile(stream, dtype, min(_CHUNK, count - start))


def check_metaimage(path: Path, size: int) -> bool:
    """Check that the pixels of a .mha or .mhd file are all there, as far as the header tells.

    Of missing ones ITK prints lines of its own to stderr, and its error blames a missing file.

    Args:
        path: of the file, which ITK takes for a MetaImage.
        size: of the pixels without compression, in bytes.

    Returns:
        Whether it is one uncompressed file, of which parts can be read as fast as the whole.

    Raises:
        ValueError: pixels, or the file that a .mhd names, are missing.
    """
    fields, end = _metaimage_fields(path)
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
    """The "key = value" lines, of which ElementDataFile is the last, and their length in bytes."""
    fields = {}
    with path.open("rb") as stream:
        while stream.tell() < _MAX_HEADER and (line := stream.readline(_MAX_HEADER)):
            key, _, value = (part.strip() for part in line.decode("latin-1").partition("="))
            fields[key] = value
            if key == "ElementDataFile":
                break
        return fields, stream.tell()
