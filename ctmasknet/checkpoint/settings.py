"""Settings of a model that the shapes of its weights do not tell.

Weights made with one order of anchors fit a network with another, and an image head for deltas fits
rows of boxes: results would be wrong without an error. Checkpoints therefore carry these settings.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from ..modeling import CTMaskNet

KEY = "settings"  # in checkpoint files
TRAINING_DATA = "DATASETS.TRAIN"  # not compared, but shown in reports


def settings_of(model: nn.Module) -> dict[str, str]:
    """Return config key -> value of a lesion model or CT-Mask-Net."""
    anchors = type(model.proposal_generator.anchor_generator).__name__  # type: ignore[union-attr]
    settings = {"MODEL.ANCHOR_GENERATOR.NAME": anchors}
    if isinstance(model, CTMaskNet):
        settings["MODEL.RANKED_BOXES.ENCODING"] = str(model.roi_heads.encoding)
    return settings


def check_settings(path: str | Path, model: nn.Module, found: Mapping[str, str]) -> None:
    """Raise a ValueError if a file's settings, where it has any, differ from a model's.

    Args:
        path: the file, for the error.
        model: a lesion model or CT-Mask-Net.
        found: the file's settings.
    """
    for key, value in settings_of(model).items():
        if found.get(key, value) != value:
            raise ValueError(
                f"{path}: the checkpoint was made with {key} {found[key]}, the config says "
                f"{value}; use the config it was made with"
            )


class SettingsRecord:
    """Puts the settings into the files that Detectron2's checkpointer writes."""

    def __init__(self, model: nn.Module, training_data: Sequence[str] = ()):
        """Record the settings of a model and the names or paths of its training data."""
        self._settings = settings_of(model) | {TRAINING_DATA: ", ".join(training_data)}

    def state_dict(self) -> dict[str, str]:
        return self._settings

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Do nothing: `load_weights` has compared them."""
