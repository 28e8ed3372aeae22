"""A phantom patient: everything that its slices share, drawn from one random generator.

The ranges are wide on purpose: inflation, density, body size, dose, kernel and calibration
differ between patients far more than a lesion changes a slice's histogram.
"""

from dataclasses import dataclass

import numpy as np

from .fields import Noise

LAST_SLICE = 999  # slices are numbered 0 (apex) .. 999 (diaphragm)
CHEST_HEIGHT = 1.35  # apex to diaphragm in half image widths


@dataclass(frozen=True)
class Body:
    """Shape of the chest, lengths in half image widths."""

    width: float
    height: float
    fat: float
    centre: tuple[float, float]
    heart: float  # relative size
    heart_shift: float
    dome: tuple[float, float]  # z of the top of the right and left diaphragm
    ribs: float  # phase of the ribs along the chest wall
    warp: tuple[Noise, Noise]


@dataclass(frozen=True)
class Lung:
    """The lung without lesions: density in HU, and the normal things that resemble lesions."""

    density: float
    gravity: float  # HU from front to back
    dependent: float  # HU of the dependent density at the back pleura
    dependent_depth: float
    mosaic: float
    fissure: float  # 0 when not visible
    mottle: Noise
    texture: Noise


@dataclass(frozen=True)
class Surroundings:
    """Table, cushion and clothes."""

    table: float
    cushion: float  # thickness
    cushion_density: float
    cloth: float  # thickness
    folds: Noise


@dataclass(frozen=True)
class Scanner:
    """Dose, kernel and calibration."""

    noise: float  # HU
    grain: float  # correlation length of the noise, in pixels at 512 x 512
    blur: float  # standard deviation, in pixels at 512 x 512
    gain: float
    offset: float  # HU
    motion: float  # probability of a blurred slice


def draw_body(rng: np.random.Generator) -> Body:
    width = rng.uniform(0.78, 0.95)
    return Body(
        width=width,
        height=width * rng.uniform(0.64, 0.78),
        fat=rng.uniform(0.02, 0.10),
        centre=(rng.uniform(-0.03, 0.03), rng.uniform(-0.1, 0.0)),
        heart=rng.uniform(0.85, 1.25),
        heart_shift=rng.uniform(0.04, 0.12),
        dome=(rng.uniform(0.66, 0.85), rng.uniform(0.74, 0.95)),
        ribs=rng.uniform(0, 1),
        warp=(Noise.draw(rng, 7), Noise.draw(rng, 7)),
    )


def draw_lung(rng: np.random.Generator) -> Lung:
    return Lung(
        density=rng.uniform(-880, -760),
        gravity=rng.uniform(20, 90),
        dependent=rng.uniform(0, 160),
        dependent_depth=rng.uniform(0.03, 0.12),
        mosaic=rng.uniform(5, 35),
        fissure=rng.choice([0.0, rng.uniform(0.2, 0.6)]),
        mottle=Noise.draw(rng, 12),
        texture=Noise.draw(rng, 150),
    )


def draw_surroundings(rng: np.random.Generator) -> Surroundings:
    return Surroundings(
        table=rng.uniform(0.0, 0.06),
        cushion=rng.choice([0.0, rng.uniform(0.02, 0.12)]),
        cushion_density=rng.uniform(-950, -350),
        cloth=rng.choice([0.0, rng.uniform(0.02, 0.10)]),
        folds=Noise.draw(rng, 28),
    )


def draw_scanner(rng: np.random.Generator) -> Scanner:
    return Scanner(
        noise=rng.uniform(10, 45),
        grain=rng.uniform(0.6, 1.3),
        blur=rng.uniform(0.5, 1.3),
        gain=rng.uniform(0.97, 1.03),
        offset=rng.uniform(-25, 25),
        motion=rng.uniform(0, 0.3),
    )
