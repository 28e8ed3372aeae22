"""Zips of a volume: unpacked for a while, and named in messages as "scan.zip!folder/12.dcm"."""

from __future__ import annotations

import errno
import os
import tempfile
import zipfile
from pathlib import Path

from ..data.images import cannot_open, what_else_it_is
from ..errors import RAISE, ErrorPolicy

FULL = (errno.ENOSPC, errno.EDQUOT)
_UNFIT_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL)
_NOWHERE = ("", ".", "..")  # what zipfile leaves out of members' names


def unpack(path: Path, folder: Path, errors: ErrorPolicy) -> None:
    """Unpack a zip.

    Args:
        path: of the zip.
        folder: to make and to fill.
        errors: of single members; if none can be unpacked, that raises in any case.

    Raises:
        ValueError: it cannot be unpacked.
        OSError: the disk is full.
    """
    folder.mkdir(exist_ok=True)
    unpacked, problems = 0, []
    # zipfile and its decompressors raise what a damaged file makes them raise (BadZipFile,
    # zlib.error, RuntimeError, OSError, ...): all of it means the same to the user.
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                try:
                    archive.extract(member, folder)
                    unpacked += 1
                except Exception as error:
                    problems.append(_cannot_unpack(f"{path}!{member.filename}", error))
                    # What was written of it could pass for a slice. Its place, as zipfile has it:
                    names = [name for name in member.filename.split("/") if name not in _NOWHERE]
                    if os.path.isfile(left := folder.joinpath(*names)):
                        left.unlink()
    except Exception as error:
        if getattr(error, "errno", None) in FULL:  # of a member
            raise
        raise _cannot_unpack(str(path), error, what_else_it_is(path)) from None
    for problem in problems:
        (errors if unpacked else RAISE).handle(problem)


def _cannot_unpack(name: str, error: Exception, found: str = "") -> ValueError:
    """The error for an archive or a member, of which `found` says what else it is.

    Raises:
        OSError: the disk is full, which is no fault of the archive.
    """
    code = getattr(error, "errno", None)
    if code in FULL:
        folder = tempfile.gettempdir()
        raise OSError(code, f"{name}: no space left in {folder} to unpack it; free some") from None
    if code in _UNFIT_NAME:
        return ValueError(
            f"{name}: cannot be unpacked ({os.strerror(code).lower()}): as it was zipped it cannot "
            "be stored as a file; zip it again under another name"
        )
    if code is not None:
        return cannot_open(name, error)
    return ValueError(
        f"{name}: cannot be unpacked ({found or error}): damaged or encrypted; copy it again, or "
        "zip it again without a password"
    )
