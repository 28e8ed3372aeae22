"""Axes that are not at right angles: made so if that is rounding, else treated as a gantry tilt."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..errors import ErrorPolicy
from .sitk_headers import read_nifti_header

MAX_SHEAR = 0.5  # degrees, as of a gantry tilt
_EXACT = 1e-4  # degrees that files keep of right angles


def straightened(axes: np.ndarray, path: Path, errors: ErrorPolicy) -> np.ndarray:
    """Return axes at right angles: the first keeps its direction, the second its plane.

    Args:
        axes: (3, 3); the columns are the steps along i, j, k in mm.
        path: the file, for messages.
        errors: of axes that are more than MAX_SHEAR off. Where they are collected, slices are
            taken to lie straight above each other, as those of a DICOM series with a tilt are.

    Returns:
        (3, 3); `axes` itself if it is straight. The step along k is that from slice to slice.
    """
    lengths = np.linalg.norm(axes, axis=0)
    if not lengths.all():  # left to the reader
        return axes
    cosines = (axes / lengths).T @ (axes / lengths)
    degrees = float(np.degrees(np.arcsin(np.abs(np.triu(cosines, 1)).max().clip(0, 1))))
    if degrees < _EXACT:
        return axes
    if degrees > MAX_SHEAR:
        errors.handle(
            f"{path}: found axes sheared by {degrees:.1f} degrees, as by a gantry tilt, expected "
            f"right angles (within {MAX_SHEAR}): correct the tilt (e.g. with dcm2niix), or use a "
            "scan without it"
        )
    frame, upper = np.linalg.qr(axes)
    steps = np.diag(upper).copy()
    steps[:2] = np.sign(steps[:2]) * lengths[:2]
    return frame * steps


@contextmanager
def straight_nifti(plain: Path, path: Path, errors: ErrorPolicy) -> Iterator[Path]:
    """Yield the path of a NIfTI whose sform has right angles: the file itself, or a copy.

    ITK refuses others, or makes them so without a word. `plain` is the uncompressed file.
    """
    try:
        with plain.open("rb") as stream:
            header = read_nifti_header(stream).copy()
    except ValueError:  # the reader says what is wrong
        header = None
    if header is None:
        yield plain
        return
    axes = header["sform"][0, :, :3].astype(float)
    sheared = header["sform_code"][0] > 0 and np.isfinite(axes).all()
    straight = straightened(axes, path, errors) if sheared else axes
    if straight is axes:
        yield plain
        return
    header["sform"][0, :, :3] = straight
    header["pixdim"][0, 1:4] = np.linalg.norm(straight, axis=0)
    with tempfile.TemporaryDirectory(prefix="ctmasknet-") as folder:
        copy = Path(folder, "volume.nii")
        shutil.copyfile(plain, copy)
        with copy.open("r+b") as stream:
            for name, offset in (("pixdim", 76), ("sform", 280)):
                stream.seek(offset)
                stream.write(header[name].tobytes())
        yield copy
