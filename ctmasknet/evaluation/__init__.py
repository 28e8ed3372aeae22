"""Predictions to numbers: the papers' metrics as Detectron2 evaluators."""

from .coco_evaluator import LesionCOCOEvaluator
from .image_classification import ImageClassificationEvaluator
from .image_metrics import classification_metrics
from .per_image_ap import PerImageAPEvaluator, image_average_precision

__all__ = [
    "ImageClassificationEvaluator",
    "LesionCOCOEvaluator",
    "PerImageAPEvaluator",
    "classification_metrics",
    "image_average_precision",
]
