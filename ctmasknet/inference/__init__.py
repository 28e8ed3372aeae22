"""A person's image to an answer: predictor, overlays, figures."""

from .predictor import NOTICE, Predictor

__all__ = ["NOTICE", "Predictor"]
