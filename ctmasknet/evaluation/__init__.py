"""Predictions to numbers; importing it registers the tasks of the papers."""

from . import builtin_tasks  # noqa: F401  only registration
from .image_classification import ImageClassificationEvaluator
from .image_metrics import classification_metrics
from .lesion_evaluator import LesionEvaluator
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
