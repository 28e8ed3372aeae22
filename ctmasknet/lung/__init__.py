"""The lung in a scan or a slice, and the part of it that a network sees."""

from .field_of_view import FIELDS, Box, FieldOfView
from .search import UNKNOWN_WIDTH, LungMask, find_lung, has_lung

__all__ = ["FIELDS", "UNKNOWN_WIDTH", "Box", "FieldOfView", "LungMask", "find_lung", "has_lung"]
