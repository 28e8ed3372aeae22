"""Weights from files into models, with a report of what was loaded."""

from .loading import load_weights, read_checkpoint
from .report import LoadReport

__all__ = ["LoadReport", "load_weights", "read_checkpoint"]
