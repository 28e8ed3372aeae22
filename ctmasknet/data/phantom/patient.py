"""A phantom patient: everything that its slices share, drawn from one random generator.

The ranges are wide on purpose: inflation, density, body size, dose, kernel and calibration
differ between patients far more than a lesion changes a slice's histogram. The order of the draws
is part of what a seed means.
"""

import numpy as np

from .fields import Noise

LAST_SLICE = 999  # slices are numbered 0 (apex) .. 999 (diaphragm)
CHEST_HEIGHT = 1.35  # apex to diaphragm in half image widths


class Body:
    """Shape of the chest, lengths in half image widths."""

    def __init__(self, rng: np.random.Generator):
        self.width = rng.uniform(0.78, 0.95)
        self.height = self.width * rng.uniform(0.64, 0.78)
        self.fat = rng.uniform(0.02, 0.10)
        self.centre = (rng.uniform(-0.03, 0.03), rng.uniform(-0.1, 0.0))
        self.heart = rng.uniform(0.85, 1.25)  # relative size
        self.heart_shift = rng.uniform(0.04, 0.12)
        # z of the top of the right and left diaphragm
        self.dome = (rng.uniform(0.66, 0.85), rng.uniform(0.74, 0.95))
        self.ribs = rng.uniform(0, 1)  # phase of the ribs along the chest wall
        self.warp = (Noise(rng, 7), Noise(rng, 7))


class Lung:
    """The lung without lesions: density in HU, and the normal things that resemble lesions."""

    def __init__(self, rng: np.random.Generator):
        self.density = rng.uniform(-880, -760)
        self.gravity = rng.uniform(20, 90)  # HU from front to back
        self.dependent = rng.uniform(0, 160)  # HU of the dependent density at the back pleura
        self.dependent_depth = rng.uniform(0.03, 0.12)
        self.mosaic = rng.uniform(5, 35)
        self.fissure = rng.choice([0.0, rng.uniform(0.2, 0.6)])  # 0 when not visible
        self.mottle = Noise(rng, 12)
        self.texture = Noise(rng, 150)


class Surroundings:
    """Table, cushion and clothes."""

    def __init__(self, rng: np.random.Generator):
        self.table = rng.uniform(0.0, 0.06)
        self.cushion = rng.choice([0.0, rng.uniform(0.02, 0.12)])  # thickness
        self.cushion_density = rng.uniform(-950, -350)
        self.cloth = rng.choice([0.0, rng.uniform(0.02, 0.10)])  # thickness
        self.folds = Noise(rng, 28)


class Scanner:
    """Dose, kernel and calibration."""

    def __init__(self, rng: np.random.Generator):
        self.noise = rng.uniform(10, 45)  # HU
        self.grain = rng.uniform(0.6, 1.3)  # correlation length of the noise, pixels at 512 x 512
        self.blur = rng.uniform(0.5, 1.3)  # standard deviation, pixels at 512 x 512
        self.gain = rng.uniform(0.97, 1.03)
        self.offset = rng.uniform(-25, 25)  # HU
        self.motion = rng.uniform(0, 0.3)  # probability of a blurred slice
