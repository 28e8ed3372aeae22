"""Draw a phantom's slices: patient -> HU -> scanner -> 8 bit, with the exact lesion mask."""

import cv2
import numpy as np

from ..classes import WINDOW_LEVEL, WINDOW_WIDTH
from .anatomy import AIR, BLOOD, SOFT, Shapes, draw_chest, draw_shapes
from .fields import blend, coverage, ramp
from .lesions import draw_lesions, lesion_mask, lesion_raise
from .patient import LAST_SLICE, Body, Lung, Scanner, Surroundings
from .vessels import airways_beside, draw_tree, grow_tree


class Patient:
    """Everything the slices of one phantom share."""

    def __init__(self, seed: int, index: int, label: int):
        rng = np.random.default_rng([seed, index])
        self.seed = (seed, index)
        self.body = Body(rng)
        self.middle = rng.uniform(0.32, 0.74)  # z of the middle slice, 0..1
        self.span = rng.uniform(0.1, 0.2)  # from the first to the last slice
        self.lung, self.around, self.scanner = Lung(rng), Surroundings(rng), Scanner(rng)
        self.vessels = grow_tree(rng, self.body)
        self.airways = airways_beside(self.vessels, self.body)
        self.lesions = draw_lesions(rng, label, self.body, self.middle)


def draw_patient(seed: int, index: int, label: int) -> Patient:
    """Draw the patient number `index` of the data set `seed`, of an image class (0, 1, 2)."""
    return Patient(seed, index, label)


def slice_numbers(patient: Patient, count: int) -> list[int]:
    """Return the numbers (0 apex .. 999 diaphragm) of `count` slices over the patient's span."""
    z = patient.middle + patient.span * (np.arange(count) + 0.5 - count / 2) / max(count - 1, 1)
    return [int(n) for n in np.rint(z * LAST_SLICE)]


def _draw_lung(patient: Patient, shapes: Shapes, z: float) -> np.ndarray:
    """Draw the lung's tissue without lesions, vessels and airways, in HU."""
    lung, size = patient.lung, shapes.lung.shape[0]
    height = patient.body.height
    back = np.clip(shapes.y / height, -1, 1)
    hu = lung.density + lung.gravity * (back + 0.3)
    hu = hu + lung.mosaic * lung.mottle.at(z, size) + 12 * lung.texture.at(z, size)
    near = np.exp(shapes.lung / lung.dependent_depth)  # 1 at the pleura, falling inwards
    hu = hu + lung.dependent * near * ramp(back, 0.1, 0.8)
    if lung.fissure:
        for side, shift in ((-1, 0.0), (1, 0.06)):
            line = shapes.y - (0.35 - 1.1 * z + shift) - 0.35 * (np.abs(shapes.x) - 0.3) ** 2
            share = np.exp(-((line / 0.006) ** 2)) * (shapes.x * side > 0)
            hu = blend(hu, SOFT, 0.5 * lung.fissure * share)
    return hu.astype(np.float32)


def _scan(hu: np.ndarray, body: np.ndarray, scanner: Scanner, rng: np.random.Generator):
    """Add a scanner's blur, motion of the body, correlated noise and calibration."""
    size = hu.shape[0]
    unit = size / 512
    hu = cv2.GaussianBlur(hu, (0, 0), max(scanner.blur * unit, 0.3))
    if rng.random() < scanner.motion:
        length = max(3, 2 * round(rng.uniform(1, 4) * unit) + 1)
        kernel = np.zeros((length, length), np.float32)
        kernel[:, length // 2] = 1 / length
        hu = blend(hu, cv2.filter2D(hu, -1, kernel), body)
    noise = rng.standard_normal((size, size), dtype=np.float32)
    fine = cv2.GaussianBlur(noise, (0, 0), scanner.grain)
    noise = fine - cv2.GaussianBlur(fine, (0, 0), 2.5 * scanner.grain)
    noise *= scanner.noise * rng.uniform(0.8, 1.2) / noise.std()
    return (hu - AIR) * scanner.gain + AIR + scanner.offset + noise


def draw_slice(patient: Patient, number: int, size: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """Draw the slice `number` (0 apex .. 999 diaphragm), `size` pixels high and wide.

    Returns HU, (size, size) float32, and the mask with CNCB's values, (size, size) uint8.
    """
    z, px = number / LAST_SLICE, 2 / size
    rng = np.random.default_rng([*patient.seed, number])
    shapes = draw_shapes(patient.body, z, size)
    lung = _draw_lung(patient, shapes, z)
    added = lesion_raise(patient.lesions, lung, z)
    lung = blend(lung + added, BLOOD, draw_tree(patient.vessels, z, size))
    hu = draw_chest(patient.body, patient.around, shapes, z)
    hu = blend(hu, lung, coverage(shapes.lung, px))
    hu = blend(hu, SOFT, 0.8 * draw_tree(patient.airways, z, size, extra=0.007))
    hu = blend(hu, AIR, draw_tree(patient.airways, z, size))
    mask = lesion_mask(added, shapes.lung < 0)
    return _scan(hu, coverage(shapes.body, 4 * px), patient.scanner, rng).astype(np.float32), mask


def window(hu: np.ndarray) -> np.ndarray:
    """Turn HU into the 8-bit grey values of the papers' CT window."""
    low = WINDOW_LEVEL - WINDOW_WIDTH / 2
    return np.clip(np.rint((hu - low) * (255 / WINDOW_WIDTH)), 0, 255).astype(np.uint8)
