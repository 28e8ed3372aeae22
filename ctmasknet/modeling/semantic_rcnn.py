"""A lesion model with a semantic branch, whose pixels join the instances.

Shapes: B images, network input of H x W pixels, K lesion classes.
"""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead, build_sem_seg_head
from detectron2.structures import ImageList, Instances
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage

from ..data.window import Window
from .density_classes import DensityClasses
from .lesion_rcnn import LesionRCNN
from .pixels_to_instances import join
from .semantic_head import semantic_targets


@META_ARCH_REGISTRY.register()
class SemanticLesionRCNN(LesionRCNN):
    """LesionRCNN with a semantic branch on its FPN levels, as in Panoptic FPN.

    Large, diffuse lesions have no clear number and no clear box, so that proposals miss parts of
    them; their pixels are still told one by one. At inference the components of the branch's
    pixels are instances beside the detections (`join`).
    """

    @configurable
    def __init__(
        self,
        *,
        sem_seg_head: SemSegFPNHead,
        min_area: int = 64,
        threshold: float = 0.5,
        mirror: bool = False,
        detector_period: int = 1,
        density_classes: DensityClasses | None = None,
        **kwargs,
    ):
        """Build the network.

        Args:
            sem_seg_head: of K + 1 classes, background last.
            min_area: components of at most so many input pixels are no lesions.
            threshold: of the probability of any lesion, from which a pixel is one; in [0, 1).
            mirror: whether the branch also sees the mirrored image at inference; the mean of both
                counts.
            detector_period: the detector learns in every so many-th iteration; the branch, which
                is cheaper and finds most pixels, in each.
            density_classes: tells the classes of the branch's pixels; None: the branch does.
            kwargs: those of LesionRCNN.
        """
        super().__init__(**kwargs)
        self.sem_seg_head: SemSegFPNHead = sem_seg_head
        self.min_area, self.threshold, self.mirror = min_area, threshold, mirror
        self.detector_period = detector_period
        self.density_classes = density_classes

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        ret = super().from_config(cfg)
        ret["sem_seg_head"] = build_sem_seg_head(cfg, ret["backbone"].output_shape())
        ret["min_area"] = cfg.MODEL.SEM_SEG_HEAD.MIN_AREA
        ret["threshold"] = cfg.MODEL.SEM_SEG_HEAD.LESION_THRESH
        if not 0 <= ret["threshold"] < 1:
            raise ValueError(
                f"MODEL.SEM_SEG_HEAD.LESION_THRESH is {ret['threshold']}, expected 0 to below 1"
            )
        ret["detector_period"] = cfg.MODEL.SEM_SEG_HEAD.DETECTOR_PERIOD
        if ret["detector_period"] < 1:
            raise ValueError("MODEL.SEM_SEG_HEAD.DETECTOR_PERIOD: expected 1 or more")
        if ret["detector_period"] > 1 and comm.get_world_size() > 1:
            raise ValueError(
                "MODEL.SEM_SEG_HEAD.DETECTOR_PERIOD is for one process: several wait for the "
                "gradients of all parameters in each iteration; set it to 1"
            )
        if cuts := cfg.MODEL.SEM_SEG_HEAD.HU_CUTS:
            classes, window = cfg.MODEL.ROI_HEADS.NUM_CLASSES, Window(*cfg.INPUT.WINDOW)
            ret["density_classes"] = DensityClasses(cuts, classes, window)
        ret["mirror"] = cfg.TEST.AUG.ENABLED and cfg.TEST.AUG.FLIP
        return ret

    def forward(self, batched_inputs: list[dict]) -> dict[str, torch.Tensor] | list[dict]:
        """As LesionRCNN, with the branch's losses in training."""
        if not self.training:
            return self.inference(batched_inputs)
        with self.computing(batched_inputs):
            images = self.preprocess_image(batched_inputs)
            features = self.backbone(images.tensor)
            lesions = [x["instances"].to(self.device) for x in batched_inputs]
            head = self.sem_seg_head
            size = tuple(images.tensor.shape[-2:])
            targets = semantic_targets(lesions, size, self.roi_heads.num_classes, head.ignore_value)
            losses = head(features, targets)[1]
            if get_event_storage().iter % self.detector_period:
                return losses
            proposals, found = self.proposal_generator(images, features, lesions)
            return losses | found | self.roi_heads(images, features, proposals, lesions)[1]

    def find_lesions(self, images: ImageList, features: dict[str, torch.Tensor]) -> list[Instances]:
        """Return B raw instances whose `pred_masks` are ImageMasks."""
        detections = super().find_lesions(images, features)
        probs = self.pixel_probabilities(images, features)
        how = self.min_area, self.threshold
        return [join(own, p, *how) for own, p in zip(detections, probs, strict=True)]

    def pixel_probabilities(
        self, images: ImageList, features: dict[str, torch.Tensor]
    ) -> list[torch.Tensor]:
        """Return the branch's class probabilities, B tensors (K + 1, H, W) without padding."""

        def branch(features: dict[str, torch.Tensor]) -> list[torch.Tensor]:
            probs = self.sem_seg_head(features)[0].float().softmax(dim=1)
            return [p[:, :h, :w] for p, (h, w) in zip(probs, images.image_sizes, strict=True)]

        found = branch(features)
        if self.mirror:
            mirrored = branch(self.backbone(_flipped(images.tensor, images.image_sizes)))
            pairs = zip(found, mirrored, strict=True)
            found = [(own + other.flip(-1)) / 2 for own, other in pairs]
        if tell := self.density_classes:
            grey = images.tensor * self.pixel_std + self.pixel_mean
            inputs = (x[:, :h, :w] for x, (h, w) in zip(grey, images.image_sizes, strict=True))
            found = [tell(probs, x) for probs, x in zip(found, inputs, strict=True)]
        return found


def _flipped(images: torch.Tensor, sizes: list[tuple[int, int]]) -> torch.Tensor:
    """Mirror (B, channels, H, W) images from left to right; padding stays where it is."""
    flipped = images.clone()
    for own, (height, width) in zip(flipped, sizes, strict=True):
        own[:, :height, :width] = own[:, :height, :width].flip(-1)
    return flipped
