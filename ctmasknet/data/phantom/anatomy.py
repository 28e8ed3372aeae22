"""The chest around the lungs, in HU, and the shape of the lungs themselves."""

from typing import NamedTuple

import cv2
import numpy as np

from .fields import blend, coverage, ellipse, grid, ramp, union
from .patient import Body, Surroundings

AIR, FAT, SOFT, BLOOD, MARROW, BONE = -1000.0, -100.0, 45.0, 60.0, 250.0, 800.0
SPINE_RADIUS = 0.11
# Distances are smooth, so finer images interpolate them from this grid: half the time at 512.
SHAPE_GRID = 256


class Shapes(NamedTuple):
    """Signed distances (size, size) on one slice, in half image widths, negative inside."""

    x: np.ndarray  # the body's own coordinates, organically warped
    y: np.ndarray
    body: np.ndarray
    cavity: np.ndarray
    lung: np.ndarray
    heart: np.ndarray
    vessels: np.ndarray  # aorta and great vessels
    spine: np.ndarray
    domes: np.ndarray  # liver and stomach under the diaphragm


def _dome(x, y, centre, radii, top: float, z: float) -> np.ndarray:
    """Cut the diaphragm's dome, whose top lies at z = `top`."""
    depth = float(np.clip((z - top) / 0.35, 0, 1))
    grow = np.sqrt(depth * (2 - depth))
    return ellipse(x, y, centre, (radii[0] * grow, radii[1] * grow))


def draw_shapes(body: Body, z: float, size: int) -> Shapes:
    """Compute the organs' outlines on the slice at z (0 apex .. 1 diaphragm)."""
    if size > SHAPE_GRID:
        coarse = draw_shapes(body, z, SHAPE_GRID)
        return Shapes(*(cv2.resize(field, (size, size)) for field in coarse))
    x, y = grid(size)
    bend = 0.018
    x = x - body.centre[0] + bend * body.warp[0].at(z, size)
    y = y - body.centre[1] + bend * body.warp[1].at(z, size)
    skin = ellipse(np.abs(x) ** 1.2, np.abs(y) ** 1.2, (0, 0), (body.width**1.2, body.height**1.2))
    taper = 1 - 0.5 * np.exp(-z / 0.2)
    wall = body.fat + 0.09
    half_width, half_height = (body.width - wall) * taper, (body.height - wall) * taper**0.7
    cavity = ellipse(
        np.abs(x) ** 1.15, np.abs(y) ** 1.15, (0, 0), (half_width**1.15, half_height**1.15)
    )

    heart_size = body.heart * float(ramp(np.asarray(z), 0.38, 0.62))
    heart = ellipse(
        x,
        y,
        (body.heart_shift + 0.05 * heart_size, -0.3 * half_height),
        (0.29 * heart_size, 0.25 * heart_size),
    )
    arch = 0.05 * float(np.exp(-(((z - 0.3) / 0.06) ** 2)))
    vessels = union(
        ellipse(x, y, (0.1, 0.4 * half_height), (0.055, 0.055 + arch)),
        ellipse(x, y, (-0.05, -0.2 * half_height), (0.07, 0.07 + arch)),
        ellipse(x, y, (0.09, -0.05 * half_height), (0.06, 0.05 + 2 * arch)),
    )
    spine_y = half_height - 0.02
    spine = ellipse(x, y, (0, spine_y - 0.08), (SPINE_RADIUS, 0.1))
    hilum = 0.14 * float(np.exp(-(((z - 0.47) / 0.1) ** 2)))
    right_dome, left_dome = (
        _dome(x, y, (side * 0.52 * half_width, -0.05), (0.5 * half_width, 0.75 * half_height), t, z)
        for side, t in zip((-1, 1), body.dome, strict=True)
    )
    domes = np.minimum(right_dome, left_dome)
    centre = union(
        ellipse(x, y, (0.02, 0.0), (0.12, 0.9 * half_height)),
        ellipse(x, y, (0, -0.9 * half_height), (0.08, 0.2)),
        ellipse(x, y, (0, half_height), (0.17, 0.2)),
        ellipse(x, y, (-0.13, 0.05), (hilum, hilum)),
        ellipse(x, y, (0.15, 0.05), (hilum, hilum)),
        heart,
        vessels,
        spine,
        domes,
    )
    lung = -union(-cavity, centre, soft=0.05)
    return Shapes(x, y, skin, cavity, lung, heart, vessels, spine, domes)


def _draw_bones(hu: np.ndarray, shapes: Shapes, body: Body, z: float, px: float) -> np.ndarray:
    """Draw ribs, sternum and vertebra: bright cortex around marrow."""
    angle = np.arctan2(shapes.y, shapes.x)
    # Ribs run obliquely, so a slice cuts each in a short arc of the chest wall.
    phase = (np.abs(angle) * 9 / np.pi + body.ribs + 6 * z) % 1
    along = (np.abs(phase - 0.5) - 0.22) * (np.pi / 9) * 0.6
    rib = np.maximum(along, np.abs(shapes.cavity - 0.035) - 0.018)
    sternum = ellipse(shapes.x, shapes.y, (0, -(body.height - body.fat - 0.055)), (0.1, 0.028))
    arch = (
        np.abs(ellipse(shapes.x, shapes.y, (0, body.height - body.fat - 0.1), (0.07, 0.07))) - 0.02
    )
    process = ellipse(shapes.x, shapes.y, (0, body.height - body.fat - 0.03), (0.016, 0.05))
    for bone in (rib, sternum, arch, process, shapes.spine + 0.01):
        hu = blend(hu, BONE, coverage(bone, px))
        hu = blend(hu, MARROW, coverage(bone + 0.009, px))
    return hu


def _draw_surroundings(around: Surroundings, shapes: Shapes, body: Body, z: float, px: float):
    """Draw air, table, cushion and clothes: (size, size) float32 in HU."""
    size = shapes.body.shape[0]
    x, y = grid(size)
    hu = np.full((size, size), AIR, np.float32)
    folds = around.folds.at(z, size)
    top = body.centre[1] + body.height + around.table + around.cushion - 0.14 * x * x
    cushion = np.maximum(np.maximum(top - around.cushion - y, y - top), np.abs(x) - 0.9)
    hu = blend(hu, around.cushion_density + 60 * folds, coverage(cushion, px))
    table = np.maximum(np.abs(y - top - 0.06) - 0.06, np.abs(x) - 0.97)
    hu = blend(hu, -60.0, coverage(table, px))
    hu = blend(hu, -880.0, coverage(table + 0.012, px))
    # Cloth hangs over the body in folds of air and weave.
    cloth = np.maximum(shapes.body - around.cloth, y - body.height * 0.6)
    weave = np.clip(np.abs(folds) * 2.5, 0, 1)
    return blend(hu, -920 + 650 * (1 - weave), coverage(cloth, px) * (around.cloth > 0))


def draw_chest(body: Body, around: Surroundings, shapes: Shapes, z: float) -> np.ndarray:
    """Draw all but the lungs: (size, size) float32 in HU, soft tissue in the place of the lungs."""
    size = shapes.body.shape[0]
    px = 2 / size
    hu = _draw_surroundings(around, shapes, body, z, px)
    hu = blend(hu, SOFT, coverage(shapes.body, px))  # skin
    hu = blend(hu, FAT, coverage(shapes.body + 0.012, px))
    muscle = shapes.body + body.fat + 0.012 * body.warp[0].at(1 - z, size)
    hu = blend(hu, SOFT, coverage(muscle, px))
    fat_planes = np.abs(body.warp[1].at(z + 0.3, size)) - 0.12
    hu = blend(hu, FAT, coverage(fat_planes * 0.1, px) * coverage(muscle + 0.01, px))
    hu = blend(hu, FAT, coverage(shapes.cavity, px))
    hu = blend(hu, SOFT, coverage(union(shapes.heart, shapes.domes), px))
    hu = blend(hu, BLOOD, coverage(np.minimum(shapes.vessels, shapes.heart + 0.04), px))
    return _draw_bones(hu, shapes, body, z, px)
