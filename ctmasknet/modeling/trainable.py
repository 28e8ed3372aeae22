"""Which parameters of CT-Mask-Net are trained."""

from detectron2.modeling import GeneralizedRCNN
from torch.nn.modules.batchnorm import _BatchNorm

from ..config import require_one_of

ONE_SHOT = "one-shot"
TRAINABLE = ("heads", "heads+bn", "full", ONE_SHOT)


def freeze_all_but(model: GeneralizedRCNN, part: str, shortcut_norms: bool = True) -> None:
    """Set `requires_grad` of every parameter of a CT-Mask-Net.

    Frozen parameters get no gradient, so data-parallel training works. The image loss does not
    reach the RPN and the mask head: lesion losses alone train them ("one-shot").

    Args:
        model: a CTMaskNet.
        part: "heads" (the image head), "heads+bn" (and the affine weights of every BatchNorm of
            the backbone), "full" (and the whole backbone, the box head and its predictor) or
            "one-shot" (all, as lesions are learned, too).
        shortcut_norms: "heads+bn" includes the BatchNorm of the residual shortcuts. The author's
            code leaves those out.

    Raises:
        ValueError: unknown part, or "heads+bn" of a backbone without BatchNorm.
    """
    require_one_of("MODEL.TRAINABLE", part, TRAINABLE)
    model.requires_grad_(part == ONE_SHOT)
    model.image_head.requires_grad_(True)
    if part == "heads+bn":
        norms = [
            module
            for name, module in model.backbone.named_modules()
            if isinstance(module, _BatchNorm) and (shortcut_norms or "shortcut" not in name)
        ]
        if not norms:
            raise ValueError(
                "MODEL.TRAINABLE is 'heads+bn', but the backbone has no BatchNorm to train "
                "(MODEL.RESNETS.NORM); set it to 'heads' or 'full'"
            )
        for module in norms:
            module.requires_grad_(True)
    elif part == "full":
        for module in (model.backbone, model.roi_heads.box_head, model.roi_heads.box_predictor):
            module.requires_grad_(True)
