"""Lesions modelled on the papers' findings, as three-dimensional bodies that slices cut.

COVID-19: several ground-glass patches, bilateral and peripheral, some with consolidation inside.
Common pneumonia: one or two large consolidations with ground-glass rims, often one-sided.
"""

from typing import NamedTuple

import numpy as np

from ..classes import IMAGE_CLASSES
from .anatomy import draw_shapes
from .fields import Noise, grid, ramp
from .patient import CHEST_HEIGHT, Body

# HU that a lesion adds to a pixel of the lung, from which the mask takes its class. Ground glass
# adds at most 1.3 times GGO_RANGE; consolidation adds more even to the densest lung.
GGO_RAISE = 60.0
CONSOLIDATION_RAISE = 370.0
GGO_RANGE = (140, 270)  # HU
SITE_GRID = 128
MAX_TRIES = 200


class Lesion(NamedTuple):
    """One patch: an ellipsoid with a ragged edge, flat along the pleura where it touches it."""

    centre: tuple[float, float, float]  # x, y, z * CHEST_HEIGHT
    radii: tuple[float, float, float]  # along and across the pleura, along z
    angle: float  # of the pleura at the centre, radians
    raise_hu: float  # of the ground glass
    core: float  # relative radius of the consolidation inside, 0 for none


class Patch(NamedTuple):
    """Ranges of a kind of lesion; lengths in half image widths."""

    along: tuple[float, float]  # radius along the pleura
    across: tuple[float, float]
    depth: tuple[float, float]  # of the centre under the pleura
    solid: float  # share with consolidation inside
    core: tuple[float, float]


COVID_PATCH = Patch((0.07, 0.17), (0.05, 0.09), (0.02, 0.07), 0.35, (0.35, 0.6))
PNEUMONIA_PATCH = Patch((0.18, 0.29), (0.14, 0.21), (0.05, 0.16), 1.0, (0.5, 0.8))


class Lesions(NamedTuple):
    """All lesions of a patient, and the noise that shapes and textures them."""

    bodies: tuple[Lesion, ...]
    edge: Noise
    texture: Noise
    consolidation: float  # HU


def _sites(rng: np.random.Generator, body: Body, z: float, side: int, depth: tuple[float, float]):
    """Find places in one lung at a depth under the pleura, in random order.

    Returns (n, 3): x, y and the angle of the lung's edge there.
    """
    shapes = draw_shapes(body, z, SITE_GRID)
    rows_gradient, cols_gradient = np.gradient(shapes.lung)
    x, y = grid(SITE_GRID)
    mine = (x - body.centre[0]) * side > 0
    outer = np.abs(x - body.centre[0]) > 0.25  # the mediastinal pleura is spared
    inside = (-shapes.lung > depth[0]) & (-shapes.lung < depth[1])
    rows, cols = np.nonzero(mine & outer & inside)
    # Lesions favour the back of the lung.
    weight = 1 + 2 * ramp(y[rows, cols] - body.centre[1], -0.2, 0.3)
    order = np.argsort(-weight * rng.random(len(rows)))
    angle = np.arctan2(-cols_gradient[rows, cols], rows_gradient[rows, cols])
    return np.stack([x[rows, cols], y[rows, cols], angle], 1)[order]


def _place(rng: np.random.Generator, body: Body, z: float, patch: Patch, sides: list[int]):
    """Draw one patch per side, each clear of those placed before."""
    bodies: list[Lesion] = []
    for side in sides:
        along, across = float(rng.uniform(*patch.along)), float(rng.uniform(*patch.across))
        core = float(rng.uniform(*patch.core)) if rng.random() < patch.solid else 0.0
        raise_hu, half_height = float(rng.uniform(*GGO_RANGE)), float(rng.uniform(0.3, 0.5))
        level = float(z + rng.uniform(-0.05, 0.05)) * CHEST_HEIGHT
        for x, y, angle in _sites(rng, body, z, side, patch.depth)[:MAX_TRIES].tolist():
            gaps = [np.hypot(x - b.centre[0], y - b.centre[1]) - b.radii[0] for b in bodies]
            if min(gaps, default=1.0) > along + 0.03:
                radii = (along, across, half_height)
                bodies.append(Lesion((x, y, level), radii, angle, raise_hu, core))
                break
    return tuple(bodies)


def draw_lesions(rng: np.random.Generator, label: int, body: Body, z: float) -> Lesions:
    """Draw the lesions of a patient of an image class, around the middle slice z (0..1)."""
    first = int(rng.choice([-1, 1]))
    bodies: tuple[Lesion, ...] = ()
    if IMAGE_CLASSES[label] == "COVID-19":
        # Alternating, so that both sides are affected.
        sides = [first * (-1) ** i for i in range(int(rng.integers(4, 9)))]
        bodies = _place(rng, body, z, COVID_PATCH, sides)
    elif IMAGE_CLASSES[label] == "Common Pneumonia":
        second = first if rng.random() < 0.7 else -first
        bodies = _place(rng, body, z, PNEUMONIA_PATCH, [first, second][: int(rng.integers(1, 3))])
    edge, texture = Noise(rng, 20), Noise(rng, 64)
    return Lesions(bodies, edge, texture, float(rng.uniform(-50, 40)))


def lesion_raise(lesions: Lesions, lung_hu: np.ndarray, z: float) -> np.ndarray:
    """Compute the HU that lesions add to a lung without any, both (size, size) float32, at z."""
    size = lung_hu.shape[0]
    added = np.zeros_like(lung_hu)
    if not lesions.bodies:
        return added
    x, y = grid(size)
    edge, texture = lesions.edge.at(z, size), lesions.texture.at(z, size)
    for lesion in lesions.bodies:
        dz = (z * CHEST_HEIGHT - lesion.centre[2]) / lesion.radii[2]
        dx, dy = x - lesion.centre[0], y - lesion.centre[1]
        cos, sin = np.cos(lesion.angle), np.sin(lesion.angle)
        along, across = (cos * dx + sin * dy), (cos * dy - sin * dx)
        radius = np.sqrt((along / lesion.radii[0]) ** 2 + (across / lesion.radii[1]) ** 2 + dz * dz)
        radius = radius + 0.2 * edge
        glass = ramp(-radius, -1.0, -0.8) * lesion.raise_hu * np.clip(1 + 0.25 * texture, 0.5, 1.3)
        solid = ramp(-radius - 0.08 * texture, -lesion.core - 0.08, -lesion.core + 0.08)
        solid = solid * (lesion.core > 0)
        here = glass + (lesions.consolidation - lung_hu - glass) * solid
        added = np.maximum(added, here)
    return added


def lesion_mask(added: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """Label a slice as in CNCB: 0 background, 1 lung, 2 GGO, 3 consolidation; uint8.

    `added` are the HU of `lesion_raise`. Nothing outside the bool field `lung` is a lesion.
    """
    mask = lung.astype(np.uint8)
    mask[lung & (added >= GGO_RAISE)] = 2
    mask[lung & (added >= CONSOLIDATION_RAISE)] = 3
    return mask
