"""Baselines: networks that classify an image from its pixels, without boxes.

They train, evaluate and report as CT-Mask-Net does, on the same lists.

Shapes: B images of H x W pixels, X features of an image, C image classes.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from functools import partial

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY, Backbone, build_resnet_backbone
from torch import nn
from torchvision.models import mobilenet_v3_small

from ..config import require_one_of
from ..data.histogram import BINS, histogram_features
from .finite import check_finite, naming_images
from .image_head import LOSSES, image_loss
from .image_output import image_classes, image_labels
from .precision import PRECISIONS, autocast, dtype_of, full_precision


class ImageModel(nn.Module, ABC):
    """Features of an image and a linear classifier; a subclass has `features`.

    Images are never padded: those of one size go through the network together, so an image's
    answer does not depend on its batch.

    Attributes:
        precision: dtype of convolutions and matrices.
    """

    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    @configurable
    def __init__(
        self,
        *,
        feature_size: int,
        num_classes: int,
        pixel_mean: tuple[float, ...],
        pixel_std: tuple[float, ...],
        loss: str = "binary_cross_entropy",
        precision: str = "float32",
    ):
        """Build the classifier.

        Args:
            feature_size: X.
            num_classes: C.
            pixel_mean, pixel_std: one number for each channel, in the images' range 0..255.
            loss: see `image_loss`.
            precision: of convolutions and matrices; see MODEL.PRECISION.

        Raises:
            ValueError: unknown loss or precision.
        """
        require_one_of("MODEL.IMAGE_HEAD.LOSS", loss, LOSSES)
        require_one_of("MODEL.PRECISION", precision, PRECISIONS)
        super().__init__()
        self.classifier = nn.Linear(feature_size, num_classes)
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.loss = loss
        self.precision = dtype_of(precision)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return {
            "num_classes": cfg.MODEL.IMAGE_HEAD.NUM_CLASSES,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "loss": cfg.MODEL.IMAGE_HEAD.LOSS,
            "precision": cfg.MODEL.PRECISION,
        }

    @property
    def device(self) -> torch.device:
        """Return where images are computed."""
        return self.classifier.weight.device

    @abstractmethod
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (B, X) of images (B, 3, H, W), float in 0..255."""

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Return images with the mean and deviation of MODEL.PIXEL_MEAN and PIXEL_STD taken out."""
        return (images - self.pixel_mean) / self.pixel_std

    def forward(self, batched_inputs: list[dict]) -> dict[str, torch.Tensor] | list[dict]:
        """Return the image loss in training, else what `inference` returns.

        Args:
            batched_inputs: one per image: "image", (3, height, width) in MODEL's input format and
                range; in training also "label", int in [0, C).

        Raises:
            ValueError: a training image without a label.
            NotFiniteError: an image gives NaN or infinity; names it.
        """
        if not self.training:
            return self.inference(batched_inputs)
        labels = image_labels(batched_inputs, type(self).__name__).to(self.device)
        return {"loss_image": image_loss(self._logits(batched_inputs), labels, self.loss)}

    def inference(self, batched_inputs: list[dict], do_postprocess: bool = True) -> list[dict]:
        """Classify images.

        Args:
            batched_inputs: as in `forward`, without labels.
            do_postprocess: as of models with instances; changes nothing.

        Returns:
            One dict per image: "image_logits" (C,), "image_probs" (C,) their softmax and
            "image_class" int.
        """
        return image_classes(self._logits(batched_inputs))

    def _logits(self, inputs: list[dict]) -> torch.Tensor:
        by_size = defaultdict(list)
        for i, x in enumerate(inputs):
            by_size[x["image"].shape].append(i)
        dtype = self.classifier.weight.dtype
        with naming_images(inputs):
            logits = []
            for members in by_size.values():
                images = torch.stack([inputs[i]["image"].to(self.device, dtype) for i in members])
                with autocast(self.device, self.precision):
                    found = self.features(images)
                with full_precision(self.device):
                    logits.append(self.classifier(found.to(dtype)))
            order = torch.tensor([i for members in by_size.values() for i in members])
            in_order = torch.cat(logits)[order.argsort().to(self.device)]
            check_finite(in_order)
        return in_order


@META_ARCH_REGISTRY.register()
class ImageResNet(ImageModel):
    """Detectron2's ResNet (MODEL.RESNETS), pooled.

    Its layers have the names that `ctmasknet prepare weights` gives to torchvision's.
    """

    @configurable
    def __init__(self, *, bottom_up: Backbone, **kwargs):
        """Build the classifier on a ResNet's last level; kwargs are those of ImageModel."""
        last = [*bottom_up.output_shape().values()][-1]
        super().__init__(feature_size=last.channels, **kwargs)
        self.backbone = nn.ModuleDict({"bottom_up": bottom_up})

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        channels = ShapeSpec(channels=len(cfg.MODEL.PIXEL_MEAN))
        return {**super().from_config(cfg), "bottom_up": build_resnet_backbone(cfg, channels)}

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the means (B, X) of the last level's map."""
        levels = self.backbone["bottom_up"](self.normalised(images))
        return [*levels.values()][-1].mean((2, 3), dtype=images.dtype)


@META_ARCH_REGISTRY.register()
class ImageMobileNet(ImageModel):
    """torchvision's small MobileNetV3 (Howard et al. 2019): 1.5 million parameters.

    It stands where the papers compare with COVIDNet-CT, of 1.4 million.
    """

    @configurable
    def __init__(self, **kwargs):
        """Build the network from random weights; kwargs are those of ImageModel."""
        # torchvision's momentum of 0.01 is for hundreds of thousands of steps: after a few hundred
        # the running statistics would still be those of the start.
        norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.1)
        network = mobilenet_v3_small(norm_layer=norm)
        *hidden, last = network.classifier
        super().__init__(feature_size=last.in_features, **kwargs)
        self.backbone = nn.Sequential(network.features, network.avgpool, nn.Flatten(), *hidden)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return what torchvision's last layer reads, (B, X)."""
        return self.backbone(self.normalised(images))


@META_ARCH_REGISTRY.register()
class IntensityHistogram(ImageModel):
    """Logistic regression on how often grey values occur: what a class owes to no lesion at all."""

    @configurable
    def __init__(self, **kwargs):
        """Build the classifier; kwargs are those of ImageModel."""
        super().__init__(feature_size=BINS, **kwargs)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the square roots (B, 32) of the shares of pixels in each bin, so of like scale."""
        grey = images.mean(dim=1).round().clamp(0, 255).to("cpu", torch.uint8).numpy()
        shares = np.stack([histogram_features(image) for image in grey])
        return torch.from_numpy(shares).sqrt().to(images.device, images.dtype)
