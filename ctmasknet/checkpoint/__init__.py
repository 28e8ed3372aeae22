"""Weights from files into models, with a report of what was loaded."""

from .loading import LoadReport, load_weights, read_checkpoint

__all__ = ["LoadReport", "load_weights", "read_checkpoint"]
