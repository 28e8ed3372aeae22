"""Which kind of model a config builds."""

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY

from .ct_mask_net import CTMaskNet
from .image_models import ImageModel
from .trainable import ONE_SHOT


def is_classifier(cfg: CfgNode) -> bool:
    """Return whether a config builds a model that classifies images: of image lists, not lesions.

    Args:
        cfg: reads MODEL.META_ARCHITECTURE: CTMaskNet, a baseline, or a registered subclass.

    Raises:
        KeyError: no meta-architecture is registered under that name.
    """
    return _builds(cfg, (CTMaskNet, ImageModel))


def reads_boxes(cfg: CfgNode) -> bool:
    """Return whether a config builds a CTMaskNet, which starts from a lesion model."""
    return _builds(cfg, CTMaskNet)


def is_one_shot(cfg: CfgNode) -> bool:
    """Return whether one training learns lesions and image classes: from slices of both kinds."""
    return reads_boxes(cfg) and cfg.MODEL.TRAINABLE == ONE_SHOT


def learns_lesions(cfg: CfgNode) -> bool:
    """Return whether training reads lesions with their masks or boxes."""
    return not is_classifier(cfg) or is_one_shot(cfg)


def _builds(cfg: CfgNode, kind: type | tuple[type, ...]) -> bool:
    return issubclass(META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE), kind)
