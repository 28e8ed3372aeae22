"""Predictions to numbers."""

from .evaluators import ImageClassificationEvaluator, LesionEvaluator
from .image_metrics import classification_metrics
from .per_image_ap import image_average_precision
from .tasks import Task, register_task

__all__ = [
    "ImageClassificationEvaluator",
    "LesionEvaluator",
    "Task",
    "classification_metrics",
    "image_average_precision",
    "register_task",
]
