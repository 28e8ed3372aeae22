"""Smooth fields that the phantom is drawn from: distances, coverage and noise on any grid.

Lengths are in half image widths; x points to the image's right (the patient's left), y down
(posterior), both in [-1, 1]. Distances are negative inside a shape. The image size decides the
sampling alone, so a phantom can be drawn at any size.
"""

import cv2
import numpy as np

# Two planes of noise rotate into one another along z, by so many radians over the whole chest.
NOISE_TURNS = 9.0


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the pixel centres, each (size, size) float32 in (-1, 1)."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    x, y = np.meshgrid(axis, axis)
    return x, y


def ellipse(x: np.ndarray, y: np.ndarray, centre: tuple[float, float], radii: tuple[float, float]):
    """Return the first-order signed distance to an upright ellipse; far away if it is empty."""
    a, b = radii
    if min(a, b) <= 1e-3:
        return np.full_like(x, 1e3)
    u, v = (x - centre[0]) / a, (y - centre[1]) / b
    radius = u * u
    radius += v * v
    np.sqrt(radius, out=radius)
    u /= a
    u *= u
    v /= b
    v *= v
    u += v
    slope = np.sqrt(u, out=u)
    np.maximum(slope, 1e-3, out=slope)
    return radius * (radius - 1) / slope


def union(first: np.ndarray, *others: np.ndarray, soft: float = 0.03) -> np.ndarray:
    """Return the signed distance to a union whose creases are rounded over a length of `soft`."""
    for other in others:
        h = np.maximum(soft - np.abs(first - other), 0) / soft
        first = np.minimum(first, other) - h * h * (soft / 4)
    return first


def coverage(distance: np.ndarray, width: float) -> np.ndarray:
    """Return the share of each pixel inside a shape; its edge is `width` wide (about one pixel)."""
    share = distance / -width  # in place: most of the drawing's time is spent here
    share += 0.5
    np.maximum(share, 0, out=share)
    return np.minimum(share, 1, out=share)


def ramp(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """Step smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def blend(image: np.ndarray, value: np.ndarray | float, share: np.ndarray) -> np.ndarray:
    """Replace `share` of each pixel by `value`."""
    change = (value - image) * share
    change += image
    return change


class Noise:
    """Band-limited noise in (x, y, z), about zero mean and unit variance; `cells` values a row."""

    def __init__(self, rng: np.random.Generator, cells: int):
        self.planes = rng.standard_normal((2, cells, cells), dtype=np.float32)

    def at(self, z: float, size: int) -> np.ndarray:
        """Return the noise on the slice at z (0..1), (size, size) float32."""
        turn = z * NOISE_TURNS
        plane = np.cos(turn) * self.planes[0] + np.sin(turn) * self.planes[1]
        # Cubic interpolation of unit noise has a variance of about 0.6.
        return cv2.resize(plane, (size, size), interpolation=cv2.INTER_CUBIC) * np.float32(1.3)
