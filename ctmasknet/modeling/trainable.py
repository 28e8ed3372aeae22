"""Which parameters of CT-Mask-Net are trained."""

from detectron2.modeling import GeneralizedRCNN
from torch.nn.modules.batchnorm import _BatchNorm

TRAINABLE = ("heads", "heads+bn", "full")


def freeze_all_but(model: GeneralizedRCNN, part: str) -> None:
    """Set `requires_grad` of every parameter of a CT-Mask-Net.

    Frozen parameters get no gradient, so data-parallel training works. The RPN and the mask head
    are never trained: the image loss does not reach them.

    Args:
        model: a CTMaskNet.
        part: "heads" (the image head), "heads+bn" (and the affine weights of every BatchNorm of
            the backbone, those of the residual shortcuts included) or "full" (and the whole
            backbone, the box head and its predictor).

    Raises:
        ValueError: unknown part.
    """
    if part not in TRAINABLE:
        raise ValueError(f"MODEL.TRAINABLE is {part!r}; valid are {', '.join(TRAINABLE)}")
    model.requires_grad_(False)
    model.image_head.requires_grad_(True)
    if part == "heads+bn":
        for module in model.backbone.modules():
            if isinstance(module, _BatchNorm):
                module.requires_grad_(True)
    elif part == "full":
        for module in (model.backbone, model.roi_heads.box_head, model.roi_heads.box_predictor):
            module.requires_grad_(True)
