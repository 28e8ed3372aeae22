"""Chest CT phantoms: drawn patients, slices with exact lesion masks, whole data sets."""

from .dataset import write_phantom
from .slices import draw_patient, draw_slice, slice_numbers, window

__all__ = ["draw_patient", "draw_slice", "slice_numbers", "window", "write_phantom"]
