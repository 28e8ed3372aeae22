"""A CT volume: HU with their place in the patient, and its slices as the models take them.

Z, Y, X are the array's axes; patient coordinates are LPS as in DICOM (x grows to the patient's
left, y to the back, z to the head), in mm.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.channels import GREY, channel_windows, slice_channels
from ..data.window import LUNG, Window
from ..errors import RAISE, ErrorPolicy

SQUARE_TOLERANCE = 0.05  # relative, of the pixels of an axial slice
VOXEL = (0.01, 100.0)  # mm, sides of a voxel: others are in another unit
MAX_OBLIQUE = 20.0  # degrees between an axis and the patient's nearest one
# A chest in HU has air, at about -1000; values from 0 up, or 0..1, are something else.
_HIGHEST_MINIMUM = -200
_LARGEST = 100_000  # above what 16 bits hold, so metal and padding pass


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT volume, lowest slice first; the rows of each slice go from front to back, its columns
    from the patient's right to the left, so that a slice shows upright as radiologists view it.

    Args:
        hu: (Z, Y, X) int16 or float32, HU; often a read-only view of another array.
        spacing: (z, y, x) in mm.
        origin: (x, y, z) in mm, the centre of voxel [0, 0, 0].
        direction: (3, 3); the columns are the directions of the index axes x, y, z: nearly the
            identity.
        patient, scan: identifiers, from DICOM if it has any, else from the file's name.
        source: the file or folder it was read from.
        identifiers: those of `dicom_headers.IDENTIFIERS` that are known.
        slice_files: the file of each slice ("scan.zip!12.dcm" in a zip); empty if there is one
            file for all.
        windowed: for 8-bit input, the window that it is taken to have.
        measured: False if spacing, position and orientation are unknown (8-bit images): then
            spacing is 1 mm, and the files' order is taken to go from feet to head.
        even: False if slices are missing or the steps between them differ: then the places of
            slices by `spacing`, and volumes, are approximate.
        skipped: what was left out, or accepted although it is wrong, a line each.
    """

    hu: np.ndarray
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: np.ndarray
    patient: str
    scan: str
    source: Path
    identifiers: Mapping[str, str] = field(default_factory=dict)
    slice_files: tuple[str, ...] = ()
    windowed: Window | None = None
    measured: bool = True
    even: bool = True
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.hu)

    def slice(
        self, index: int, window: str | Window | None = None, channels: str = GREY
    ) -> np.ndarray:
        """Return a slice as the models take it: (Y, X, 3) uint8, RGB.

        Args:
            index: 0 is the lowest slice (nearest the feet).
            window: see `window_for`.
            channels: see `data.channels.slice_channels`; "grey" makes them equal.

        Raises:
            IndexError: there is no such slice.
            ValueError: windows that 8-bit input does not have, or neighbours in a volume of one.
        """
        own = self.window_for(window)
        for other in channel_windows(own, channels):
            self.window_for(other)
        try:
            return slice_channels(self.hu, range(len(self))[index], own, channels)
        except ValueError as error:
            raise ValueError(f"{self.source}: {error}") from None

    def slices(self, window: str | Window | None = None) -> Iterator[np.ndarray]:
        """Iterate over the slices from the lowest to the highest; see `slice`."""
        chosen = self.window_for(window)
        return (self.slice(index, chosen) for index in range(len(self)))

    def window_for(self, window: str | Window | None) -> Window:
        """Return the Window to apply.

        Args:
            window: a name, "width,level", or a Window; None is the window of 8-bit input, and
                otherwise the papers' ("lung").

        Raises:
            ValueError: an unknown window, or one that 8-bit input does not have.
        """
        chosen = (self.windowed or LUNG) if window is None else Window.parse(window)
        if self.windowed is not None and chosen != self.windowed:
            raise ValueError(
                f"{self.source}: found 8-bit images, taken to have the window {self.windowed}; "
                f"the window {chosen} cannot be made of them: start from DICOM or HU"
            )
        return chosen


def upright_volume(
    hu: np.ndarray,
    spacing: Sequence[float],
    origin: Sequence[float],
    direction: np.ndarray,
    source: Path,
    *,
    patient: str = "",
    scan: str = "",
    slice_files: Sequence[str] = (),
    errors: ErrorPolicy = RAISE,
    **known: Any,
) -> Volume:
    """Make a Volume of an array in any orientation, by permuting and flipping its axes.

    Args:
        hu: (K, J, I) int16 or float32, HU; the result is a view of it.
        spacing: (k, j, i) in mm.
        origin: (x, y, z) in mm of voxel [0, 0, 0].
        direction: (3, 3); the columns are the directions of the axes i, j, k in the patient.
        source: the file or folder it was read from.
        patient, scan: the name of `source` when empty.
        slice_files: one for each k, or none.
        errors: of axes that lie oblique in the patient.
        known: identifiers, windowed, measured and even, as for Volume.

    Raises:
        ValueError: axial slices would not have square pixels, the axes lie oblique, or sides of
            voxels are beyond VOXEL.
    """
    direction = np.asarray(direction, float)
    order, upwards, turned = upright_axes(direction)
    flips = direction[range(3), order] < 0
    corner = np.array(origin, float)
    for column in np.array(order)[flips]:
        corner += direction[:, column] * ((hu.shape[2 - column] - 1) * spacing[2 - column])
    axes = direction[:, order] * np.where(flips, -1.0, 1.0)
    angle = np.degrees(np.arccos(np.clip(np.diag(axes).min(), -1, 1)))
    if angle > MAX_OBLIQUE:
        errors.handle(
            f"{source}: found slices turned by {angle:.0f} degrees, expected axial ones (at most "
            f"{MAX_OBLIQUE:.0f}): resample it to axial slices, or choose an axial series"
        )
    z, y, x = (float(spacing[axis]) for axis in upwards)
    if not all(VOXEL[0] <= side <= VOXEL[1] for side in (z, y, x)):
        raise ValueError(
            f"{source}: found voxels of {z:.4g} x {y:.4g} x {x:.4g}, expected {VOXEL[0]:g} to "
            f"{VOXEL[1]:g} mm: their unit is another one; convert it again from the DICOM series"
        )
    if abs(y - x) > SQUARE_TOLERANCE * max(x, y):
        raise ValueError(
            f"{source}: found axial pixels of {y:.4g} x {x:.4g} mm, expected square ones: this is "
            "no axial series; resample it to axial slices, or choose an axial series"
        )
    files = tuple(slice_files) if order[2] == 2 else ()
    name = source.resolve().name
    if source.is_file():
        name = Path(without_gz(name)).stem
    return Volume(
        hu=np.flip(hu.transpose(upwards), turned),
        spacing=(z, y, x),
        origin=(float(corner[0]), float(corner[1]), float(corner[2])),
        direction=axes,
        patient=patient or name,
        scan=scan or name,
        source=source,
        slice_files=files[::-1] if flips[2] else files,
        **known,
    )


def upright_axes(direction: np.ndarray) -> tuple[list[int], list[int], tuple[int, ...]]:
    """Return how an array (K, J, I) is turned upright, so that it can be turned back.

    Returns:
        `nearest_axes`; the array's axes in the order z, y, x; which of these are then flipped.
    """
    order = nearest_axes(direction)
    flips = np.asarray(direction)[range(3), order] < 0
    flipped = tuple(int(axis) for axis in np.flatnonzero(flips[::-1]))
    return order, [2 - column for column in reversed(order)], flipped


def without_gz(name: str) -> str:
    """Return a file's name without .gz, also in capitals."""
    return name[:-3] if name.lower().endswith(".gz") else name


def hu_problem(hu: np.ndarray) -> str:
    """Return why values, none of them NaN, cannot be HU of a chest; "" if they can."""
    lowest, highest = hu.min(), hu.max()
    if lowest <= _HIGHEST_MINIMUM and lowest >= -_LARGEST and highest <= _LARGEST:
        return ""
    return (
        f"found values from {lowest:g} to {highest:g}, expected HU (air at about -1000, nothing "
        f"beyond {_LARGEST})"
    )


def nearest_axes(direction: np.ndarray) -> list[int]:
    """Return for each of the patient's x, y, z the nearest column of `direction` (3, 3)."""
    orders = map(list, itertools.permutations(range(3)))
    return max(orders, key=lambda order: np.abs(direction[range(3), order]).sum())
