"""The branching tree of vessels and airways of both lungs, and its section on a slice."""

from typing import NamedTuple

import cv2
import numpy as np

from .anatomy import draw_shapes
from .patient import CHEST_HEIGHT, Body

TWIGS_PER_LUNG = 1500
TWIG = 0.0034  # radius of the last twig, half image widths
MAX_NODULES = 24
CELL_GRID, CELL_LEVELS = 64, np.linspace(0.04, 0.98, 16)  # of the lungs' cells
SLAB = 0.022  # slice thickness, half image widths
SUPERSAMPLE = 2
SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


class Tree(NamedTuple):
    """Segments as arrays: start and end (S, 3) in (x, y, z * CHEST_HEIGHT), radius (S,)."""

    start: np.ndarray
    end: np.ndarray
    radius: np.ndarray


def _lung_cells(body: Body) -> np.ndarray:
    """Return the centres of the grid's cells in both lungs, (cells, 3)."""
    places = []
    for z in CELL_LEVELS:
        rows, cols = np.nonzero(draw_shapes(body, z, CELL_GRID).lung < -0.012)
        x, y = (cols + 0.5) * 2 / CELL_GRID - 1, (rows + 0.5) * 2 / CELL_GRID - 1
        places.append(np.stack([x, y, np.full(len(x), z * CHEST_HEIGHT)], 1))
    return np.concatenate(places)


def _spread_points(rng: np.random.Generator, cells: np.ndarray, count: int) -> np.ndarray:
    """Spread points evenly over cells, given by their centres: (count, 3)."""
    chosen = cells[rng.integers(len(cells), size=count)]
    cell = np.array([2 / CELL_GRID, 2 / CELL_GRID, CHEST_HEIGHT / len(CELL_LEVELS)])
    return chosen + rng.uniform(-0.5, 0.5, chosen.shape) * cell


def _grow(points: np.ndarray, root: np.ndarray) -> Tree:
    """Join each point to the nearest part of the tree, from the root outwards."""
    points = points[np.argsort(((points - root) ** 2).sum(1))]
    nodes = np.concatenate([root[None], points])
    axes = np.ascontiguousarray(nodes.T)  # by coordinate, which NumPy sums five times as fast
    length = np.zeros(len(nodes))  # path from the root: its small cost keeps branches straight
    parent = np.zeros(len(nodes), int)
    for i in range(1, len(nodes)):
        way = np.sqrt(((axes[:, :i] - axes[:, i, None]) ** 2).sum(0))
        parent[i] = np.argmin(way + 0.25 * length[:i])
        length[i] = length[parent[i]] + way[parent[i]]
    twigs = np.ones(len(nodes))
    for i in range(len(nodes) - 1, 0, -1):
        twigs[parent[i]] += twigs[i]
    # Murray's law: the cube of a radius is the sum over its branches; 2.6 as measured in lungs.
    return Tree(nodes[parent[1:]], nodes[1:], TWIG * twigs[1:] ** (1 / 2.6))


def grow_tree(rng: np.random.Generator, body: Body) -> Tree:
    """Grow the vessels of both lungs, and nodules of normal size (up to about 5 mm)."""
    trees = []
    cells = _lung_cells(body)
    for side in (-1, 1):  # right, left
        mine = cells[(cells[:, 0] - body.centre[0]) * side > 0]
        root = np.array([body.centre[0] + side * 0.17, body.centre[1] + 0.04, 0.48 * CHEST_HEIGHT])
        nodules = _spread_points(rng, mine, int(rng.integers(MAX_NODULES // 2)))
        radius = rng.uniform(0.01, 0.026, len(nodules))
        half = radius[:, None] * np.array([0, 0, 0.8])
        trees.append(Tree(nodules - half, nodules + half, radius))
        trees.append(_grow(_spread_points(rng, mine, TWIGS_PER_LUNG), root))
    return Tree(*map(np.concatenate, zip(*trees, strict=True)))


def airways_beside(tree: Tree, body: Body) -> Tree:
    """Grow trachea and main bronchi, and a bronchus beside each large vessel."""
    large = tree.radius > 5 * TWIG
    radius = tree.radius[large]
    aside = np.stack([radius * 1.5, radius * 1.2, np.zeros_like(radius)], 1)
    x, y = body.centre[0], body.centre[1] + 0.03
    carina = np.array([x, y, 0.4 * CHEST_HEIGHT])
    top = np.array([x, y - 0.03, 0.0])
    hila = [np.array([x + side * 0.16, y + 0.02, 0.48 * CHEST_HEIGHT]) for side in (-1, 1)]
    start = np.concatenate([tree.start[large] + aside, [top, carina, carina]])
    end = np.concatenate([tree.end[large] + aside, [carina, *hila]])
    return Tree(start, end, np.concatenate([radius * 0.6, [0.055, 0.04, 0.04]]))


def draw_tree(tree: Tree, z: float, size: int, extra: float = 0.0) -> np.ndarray:
    """Return the share of each pixel that the tree fills in the slab at z, (size, size) float32.

    `extra` is added to every radius (an airway's wall), in half image widths.
    """
    level = z * CHEST_HEIGHT
    low, high = level - SLAB / 2, level + SLAB / 2
    z0, z1 = tree.start[:, 2], tree.end[:, 2]
    hit = (np.minimum(z0, z1) < high) & (np.maximum(z0, z1) > low)
    start, end, radius = tree.start[hit], tree.end[hit], tree.radius[hit] + extra
    rise = end[:, 2] - start[:, 2]
    rise = np.where(np.abs(rise) < 1e-6, 1e-6, rise)
    cut = np.sort(np.stack([low - start[:, 2], high - start[:, 2]]) / rise, axis=0).clip(0, 1)
    fine = size * SUPERSAMPLE
    ends = [start + (end - start) * t[:, None] for t in cut]
    first, last = (np.rint((e[:, :2] + 1) * fine / 2 * 2**SHIFT).astype(int) for e in ends)
    width = radius * fine  # diameter in fine pixels
    canvas = np.zeros((fine, fine), np.uint8)
    for i in np.argsort(width):
        shade = int(255 * min(1.0, width[i]))
        thickness = max(1, round(width[i]))
        cv2.line(canvas, first[i].tolist(), last[i].tolist(), shade, thickness, cv2.LINE_AA, SHIFT)
    small = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255
