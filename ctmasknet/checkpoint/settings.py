"""Settings of a model that the shapes of its weights do not tell.

Weights made with one order of anchors fit a network with another, and an image head for deltas fits
rows of boxes: results would be wrong without an error. Nor do weights tell the names of classes.
Checkpoints therefore carry these settings.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from ..data.channels import GREY
from ..modeling import CTMaskNet, ImageModel

logger = logging.getLogger(__name__)

KEY = "settings"  # in checkpoint files
LESION_CLASSES = "DATASETS.LESION_CLASSES"  # names in the order of indices, joined by commas
IMAGE_CLASSES = "DATASETS.IMAGE_CLASSES"  # the same in JSON: labels may have commas
TRAINING_DATA = "DATASETS.TRAIN"  # not compared, but shown in reports
CHANNELS = "INPUT.CHANNELS"  # compared where a model is used: training may start from others
WINDOW = "window"  # "width,level" in HU of the slices trained on; model files have it


def settings_of(
    model: nn.Module, lesion_classes: Sequence[str] = (), image_classes: Sequence[str] = ()
) -> dict[str, str]:
    """Return config key -> value of a lesion model, CT-Mask-Net or baseline.

    The names of its classes are () if unknown; a lesion model has none of images.
    """
    if isinstance(model, ImageModel):
        names = {IMAGE_CLASSES: json.dumps(list(image_classes))} if image_classes else {}
        return {"MODEL.META_ARCHITECTURE": type(model).__name__, **names}
    anchors = type(model.proposal_generator.anchor_generator).__name__  # type: ignore[union-attr]
    settings = {"MODEL.ANCHOR_GENERATOR.NAME": anchors}
    if isinstance(model, CTMaskNet):
        settings["MODEL.RANKED_BOXES.ENCODING"] = str(model.roi_heads.encoding)
        settings["MODEL.RANKED_BOXES.FEATURES"] = str(model.roi_heads.features)
        settings["MODEL.IMAGE_HEAD.GLOBAL_FEATURES"] = str(model.global_features)
        settings["MODEL.IMAGE_HEAD.NAME"] = type(model.image_head).__name__
        if image_classes:
            settings[IMAGE_CLASSES] = json.dumps(list(image_classes))
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


def image_classes_in(found: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the image classes in the settings of a file, () if it has none.

    ValueError: what is written there is no list of names.
    """
    text = found.get(IMAGE_CLASSES, "[]")
    try:
        names = json.loads(text)
    except (RecursionError, ValueError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{IMAGE_CLASSES} is {text[:60]!r} in it, expected a list of names (JSON)")
    return tuple(names)


def check_lesion_classes(
    path: str | Path, found: Sequence[str], expected: Sequence[str], retrained: bool = False
) -> None:
    """Raise a ValueError if the lesion classes of a file differ from a run's; () is unknown.

    `retrained`: the weights are where training starts, which may be for other lesions (the log
    tells), but not for the same in another order.
    """
    _check_classes(LESION_CLASSES, path, found, expected, retrained)


def check_image_classes(
    path: str | Path, found: Sequence[str], expected: Sequence[str], retrained: bool = False
) -> None:
    """Raise a ValueError if the image classes of a file differ; as `check_lesion_classes`."""
    _check_classes(IMAGE_CLASSES, path, found, expected, retrained)


def _check_classes(
    key: str, path: str | Path, found: Sequence[str], expected: Sequence[str], retrained: bool
) -> None:
    kind = "lesion" if key == LESION_CLASSES else "image"
    if not found or not expected or tuple(found) == tuple(expected):
        return
    same = sorted(found) == sorted(expected)
    if retrained and not same:
        text = "%s: made for the %s classes %s, training starts from it for %s"
        logger.warning(text, path, kind, ", ".join(found), ", ".join(expected))
        return
    if same:
        advice = f'set {key} "{tuple(found)}"'
    elif key == LESION_CLASSES:
        advice = (
            "use another checkpoint, or read the data sets as its classes ('new=old' in "
            "INPUT.MASK_TYPE renames)"
        )
    else:
        advice = "use another checkpoint, or data with its classes"
    raise ValueError(
        f"{path}: the checkpoint was made for the {kind} classes {', '.join(found)}, in this "
        f"order, but here they are {', '.join(expected)}; {advice}"
    )


class SettingsRecord:
    """Puts the settings into the files that Detectron2's checkpointer writes."""

    def __init__(
        self,
        model: nn.Module,
        training_data: Sequence[str] = (),
        lesion_classes: Sequence[str] = (),
        image_classes: Sequence[str] = (),
        channels: str = GREY,
    ):
        """Record a model's settings, names or paths of its training data, classes and channels."""
        self._settings = settings_of(model, lesion_classes, image_classes)
        self._settings[CHANNELS] = channels
        self._settings[TRAINING_DATA] = ", ".join(training_data)

    def state_dict(self) -> dict[str, str]:
        return self._settings

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Do nothing: `load_weights` has compared them."""
