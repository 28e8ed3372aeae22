"""Predictions to numbers."""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
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
# Prediction takes rules from here, and no statistics.
__getattr__ = lazy_names(
    __name__,
    {
        "ImageClassificationEvaluator": "evaluators",
        "LesionEvaluator": "evaluators",
        "Task": "tasks",
        "classification_metrics": "image_metrics",
        "image_average_precision": "per_image_ap",
        "register_task": "tasks",
    },
)
