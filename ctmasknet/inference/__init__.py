"""A person's image to an answer: predictor, overlays, figures."""

from ..data.classes import NOTICE
from .predictor import Predictor

__all__ = ["NOTICE", "Predictor"]
