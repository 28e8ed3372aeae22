"""Training: config, trainer and reports of a run."""

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
