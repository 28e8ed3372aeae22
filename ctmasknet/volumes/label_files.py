"""Label maps in volume files, as masks of a scan: read upright, and laid back into a file.

Shapes: Z, Y, X are the axes of the scan, upright; K, J, I those of the label map's file.
"""

import itertools
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..data.images import require_readable
from ..errors import collecting
from . import sitk
from .safe_reader import VOLUME_SUFFIXES, cannot_read, checked_reader, volume_suffix
from .sitk_files import write_volume
from .sitk_headers import unpacked_nifti
from .volume import Volume, upright_axes, upright_volume


@dataclass(frozen=True)
class Layout:
    """How a label map lies in its file and in the patient (LPS), in plain types for JSON."""

    size: tuple[int, int, int]  # k, j, i
    spacing: tuple[float, float, float]  # k, j, i, in mm
    origin: tuple[float, float, float]  # x, y, z of the first voxel, in mm
    direction: tuple[float, ...]  # of a (3, 3) matrix by rows, whose columns are of i, j, k

    @classmethod
    def of_volume(cls, volume: Volume) -> "Layout":
        """Return that of an upright volume."""
        direction = tuple(float(x) for x in volume.direction.ravel())
        z, y, x = volume.hu.shape
        return cls((z, y, x), volume.spacing, volume.origin, direction)

    @classmethod
    def from_json(cls, found: dict) -> "Layout":
        """Read what `to_json` has made; a ValueError for anything else."""
        try:
            layout = cls(*(tuple(found[key]) for key in ("size", "spacing", "origin", "direction")))
            lengths = [len(part) for part in asdict(layout).values()]
            numbers = np.array([*layout.spacing, *layout.origin, *layout.direction], float)
            sizes = all(type(x) is int and x > 0 for x in layout.size)
            if lengths != [3, 3, 3, 9] or not sizes or not np.isfinite(numbers).all():
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"no geometry of a scan: {str(found)[:200]}") from None
        return layout

    def to_json(self) -> dict:
        """Return plain lists."""
        return {key: list(value) for key, value in asdict(self).items()}

    @property
    def upright_size(self) -> tuple[int, int, int]:
        """The size of the upright volume: z, y, x."""
        _, upwards, _ = upright_axes(self._axes)
        z, y, x = (self.size[axis] for axis in upwards)
        return z, y, x

    @property
    def _axes(self) -> np.ndarray:
        return np.array(self.direction).reshape(3, 3)

    def write(self, labels: np.ndarray, path: Path, description: str = "") -> None:
        """Write upright labels (Z, Y, X) uint8 in this layout; see `write_volume`."""
        _, upwards, flipped = upright_axes(self._axes)
        stored = np.flip(labels, flipped).transpose(np.argsort(upwards))
        k, j, i = self.spacing
        as_volume = Volume(stored, (k, j, i), self.origin, self._axes, "", "", path)
        write_volume(as_volume, path, description)


def read_labels(path: Path, volume: Volume, what: str) -> tuple[np.ndarray, Layout]:
    """Read a label map that belongs to a volume.

    It is turned upright, and its corners must lie within half a pixel of the volume's; without a
    known geometry its size alone must fit.

    Args:
        path: a file with one of VOLUME_SUFFIXES.
        volume: the scan.
        what: it is, for messages ("lung mask").

    Returns:
        Its values (Z, Y, X), of any type; its layout.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or does not fit; the message has both geometries.
    """
    require_readable(path)
    if not volume_suffix(path):
        raise ValueError(
            f"{path}: no mask of a volume, expected one of {', '.join(VOLUME_SUFFIXES)}"
        )
    try:
        with unpacked_nifti(path) if ".nii" in volume_suffix(path) else nullcontext(path) as file:
            image = checked_reader(file, path)[0].Execute()
    except RuntimeError:
        raise cannot_read(path, path, "found no usable pixels") from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(
            f"{path}: found {image.GetDimension()} dimensions of "
            f"'{image.GetPixelIDTypeAsString()}', expected a {what} of 3 dimensions of numbers"
        )
    direction = np.array(image.GetDirection()).reshape(3, 3)
    values, spacing = sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]
    given = upright_volume(values, spacing, image.GetOrigin(), direction, path, errors=collecting())
    _check_geometry(given, volume, what)
    layout = Layout(values.shape, spacing, image.GetOrigin(), image.GetDirection())
    return given.hu, layout


def _check_geometry(given: Volume, volume: Volume, what: str) -> None:
    same = given.hu.shape == volume.hu.shape
    if same and volume.measured:
        distances = np.linalg.norm(_corners(given) - _corners(volume), axis=1)
        same = distances.max() <= volume.spacing[2] / 2
    if not same:
        raise ValueError(
            f"{given.source}: found a {what} of {describe_geometry(given)}; expected that of the "
            f"scan {volume.source}, {describe_geometry(volume)}: resample the mask to the scan"
        )


def _corners(volume: Volume) -> np.ndarray:
    """Return the places of the corner voxels: (8, 3), x y z in mm."""
    lengths = [(count - 1) * mm for count, mm in zip(volume.hu.shape, volume.spacing, strict=True)]
    corners = np.array(list(itertools.product((0, 1), repeat=3))) * lengths[::-1]
    return volume.origin + corners @ volume.direction.T


def describe_geometry(volume: Volume) -> str:
    """Return size, spacing and first and last corner in words."""
    size = " x ".join(map(str, volume.hu.shape))
    if not volume.measured:
        return f"{size} voxels (z, y, x)"
    spacing = " x ".join(f"{mm:.4g}" for mm in volume.spacing)
    corners = " to ".join(str(_corners(volume)[corner].round(1).tolist()) for corner in (0, -1))
    return f"{size} voxels (z, y, x) of {spacing} mm, from x, y, z = {corners} mm"
