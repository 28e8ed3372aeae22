"""Training: config, trainer and reports of a run."""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from ..evaluation.results import read_results, write_results
    from .setup import config_from_args, load_config, set_up
    from .trainer import ProgressTrainer, Trainer

__all__ = [
    "ProgressTrainer",
    "Trainer",
    "config_from_args",
    "load_config",
    "read_results",
    "set_up",
    "write_results",
]
# Prediction reads configs by it, and trains nothing.
__getattr__ = lazy_names(
    __name__,
    {
        "ProgressTrainer": "trainer",
        "Trainer": "trainer",
        "config_from_args": "setup",
        "load_config": "setup",
        "read_results": ".evaluation.results",
        "set_up": "setup",
        "write_results": ".evaluation.results",
    },
)
