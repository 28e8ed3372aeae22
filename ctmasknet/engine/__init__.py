"""Training: config, trainer and reports of a run."""

from ..evaluation.results import read_results, write_results
from .progress import ProgressTrainer
from .setup import config_from_args, load_config, set_up
from .trainer import Trainer

__all__ = [
    "ProgressTrainer",
    "Trainer",
    "config_from_args",
    "load_config",
    "read_results",
    "set_up",
    "write_results",
]
