"""Settings of a model that the shapes of its weights do not tell.

Weights made with one order of anchors fit a network with another, and an image head for deltas fits
rows of boxes: results would be wrong without an error. Nor do weights tell the names of lesions.
Checkpoints therefore carry these settings.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from ..modeling import CTMaskNet

logger = logging.getLogger(__name__)

KEY = "settings"  # in checkpoint files
LESION_CLASSES = "DATASETS.LESION_CLASSES"  # names in the order of indices, joined by commas
TRAINING_DATA = "DATASETS.TRAIN"  # not compared, but shown in reports


def settings_of(model: nn.Module, lesion_classes: Sequence[str] = ()) -> dict[str, str]:
    """Return config key -> value of a lesion model or CT-Mask-Net.

    `lesion_classes` are the names of its lesion classes, () if unknown.
    """
    anchors = type(model.proposal_generator.anchor_generator).__name__  # type: ignore[union-attr]
    settings = {"MODEL.ANCHOR_GENERATOR.NAME": anchors}
    if isinstance(model, CTMaskNet):
        settings["MODEL.RANKED_BOXES.ENCODING"] = str(model.roi_heads.encoding)
    if lesion_classes:
        settings[LESION_CLASSES] = ",".join(lesion_classes)
    return settings


def check_settings(path: str | Path, model: nn.Module, found: Mapping[str, str]) -> None:
    """Raise a ValueError if the settings of a file, where it has any, differ from a model's."""
    for key, value in settings_of(model).items():
        if found.get(key, value) != value:
            raise ValueError(
                f"{path}: the checkpoint was made with {key} {found[key]}, the config says "
                f"{value}; use the config it was made with"
            )


def lesion_classes_in(found: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the lesion classes in the settings of a file, () if it has none."""
    names = found.get(LESION_CLASSES, "")
    return tuple(names.split(",")) if names else ()


def check_lesion_classes(
    path: str | Path, found: Sequence[str], expected: Sequence[str], retrained: bool = False
) -> None:
    """Raise a ValueError if the lesion classes of a file differ from a run's; () is unknown.

    `retrained`: the weights are where training starts, which may be for other lesions (the log
    tells), but not for the same in another order.
    """
    if not found or not expected or tuple(found) == tuple(expected):
        return
    if retrained and sorted(found) != sorted(expected):
        text = "%s: made for the lesion classes %s, training starts from it for %s"
        logger.warning(text, path, ", ".join(found), ", ".join(expected))
        return
    raise ValueError(
        f"{path}: the checkpoint was made for the lesion classes {', '.join(found)}, in this "
        f"order, but here they are {', '.join(expected)}; use another checkpoint, or leave "
        f"{LESION_CLASSES} empty and read the data sets as its classes ('new=old' in "
        "INPUT.MASK_TYPE renames)"
    )


class SettingsRecord:
    """Puts the settings into the files that Detectron2's checkpointer writes."""

    def __init__(
        self,
        model: nn.Module,
        training_data: Sequence[str] = (),
        lesion_classes: Sequence[str] = (),
    ):
        """Record a model's settings, the names or paths of its training data, and its lesions."""
        self._settings = settings_of(model, lesion_classes)
        self._settings[TRAINING_DATA] = ", ".join(training_data)

    def state_dict(self) -> dict[str, str]:
        return self._settings

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Do nothing: `load_weights` has compared them."""
