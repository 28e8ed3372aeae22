"""The file of pixels beside a header (MHD, NHDR), which must not lead anywhere else."""

import os
from pathlib import Path

from ..data.images import require_readable


class HeaderError(ValueError):
    """Why a header cannot be right, or the file not whole; `checked_reader` names the file."""


def data_beside(header: Path, name: str) -> Path:
    """Return the file of pixels that a header names.

    Raises a ValueError if it is not one regular file in the header's own folder, or not there.
    """
    plain = name.removeprefix("./")
    if plain.startswith("LIST") or "%" in plain or len(plain.split(" ")) > 1 and "%" in plain:
        raise ValueError(
            f"{header}: its pixels are in several files ({name[:60]}), expected one: convert it to "
            "one file (.mha, .nrrd or .nii.gz)"
        )
    if not plain or "\0" in plain or Path(plain).name != plain or plain in (".", ".."):
        raise ValueError(
            f"{header}: its pixels are in {name[:60]!r}, expected a file in its own folder: copy "
            "both there, and name the file alone"
        )
    file = header.parent / plain
    if not os.path.lexists(file):
        raise ValueError(
            f"{header}: found no file {plain} beside it, expected its pixels there: copy both files"
        )
    require_readable(file)
    # A link may be from a data set's own store of files, but leads to what a header may not name.
    if file.is_symlink() and file.resolve().parent != header.resolve().parent:
        raise ValueError(
            f"{header}: its pixels, {plain}, are a link to {file.resolve()}, expected a file in "
            "its own folder"
        )
    return file
