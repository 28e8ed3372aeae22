"""Settings that weights were made under and that no shape tells.

Weights of one order of anchors fit a network of the other, and rows of deltas fit a head for boxes:
the results would be wrong without a word. Checkpoints therefore carry these settings.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from ..modeling import CTMaskNet

KEY = "settings"  # in checkpoint files
TRAINING_DATA = "DATASETS.TRAIN"  # never compared: it says what a model can know


def settings_of(model: nn.Module) -> dict[str, str]:
    """Return config key -> value of a lesion model or CT-Mask-Net."""
    anchors = type(model.proposal_generator.anchor_generator).__name__  # type: ignore[union-attr]
    settings = {"MODEL.ANCHOR_GENERATOR.NAME": anchors}
    if isinstance(model, CTMaskNet):
        settings["MODEL.RANKED_BOXES.ENCODING"] = str(model.roi_heads.encoding)
    return settings


def check_settings(path: str | Path, model: nn.Module, found: Mapping[str, str]) -> None:
    """Compare a file's settings with a model's.

    Args:
        path: the file, for the error.
        model: a lesion model or CT-Mask-Net.
        found: the file's; empty in files of other programs.

    Raises:
        ValueError: one differs; names both values.
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
        """Take the settings down.

        Args:
            model: a lesion model or CT-Mask-Net.
            training_data: names or paths of the data sets that it trains on.
        """
        self._settings = settings_of(model) | {TRAINING_DATA: ", ".join(training_data)}

    def state_dict(self) -> dict[str, str]:
        return self._settings

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Do nothing: `load_weights` has compared them."""
