"""Predictions to numbers: the papers' metrics as Detectron2 evaluators."""

from .image_classification import ImageClassificationEvaluator, classification_metrics
from .per_image_ap import PerImageAPEvaluator, image_average_precision

__all__ = [
    "ImageClassificationEvaluator",
    "PerImageAPEvaluator",
    "classification_metrics",
    "image_average_precision",
]
