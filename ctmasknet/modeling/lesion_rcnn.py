"""The lesion model, and the input that both models share."""

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.structures import ImageList

from .finite import naming_images


@META_ARCH_REGISTRY.register()
class LesionRCNN(GeneralizedRCNN):
    """Detectron2's GeneralizedRCNN that normalises images in the precision of its weights.

    Stock Detectron2 keeps MODEL.PIXEL_MEAN and PIXEL_STD in float32, also in a float64 network,
    which moves its answers by 1e-6.
    """

    @configurable
    def __init__(self, *, pixel_mean: tuple[float, ...], pixel_std: tuple[float, ...], **kwargs):
        """Build the network.

        Args:
            pixel_mean, pixel_std: one number for each channel, in the images' range 0..255.
            kwargs: those of GeneralizedRCNN.
        """
        super().__init__(pixel_mean=pixel_mean, pixel_std=pixel_std, **kwargs)
        self._mean = [x / 255 for x in pixel_mean]
        self._std = [x / 255 for x in pixel_std]

    def forward(self, batched_inputs: list[dict]) -> dict[str, torch.Tensor] | list[dict]:
        """As GeneralizedRCNN; an image that gives NaN or infinity is named (NotFiniteError)."""
        with naming_images(batched_inputs):
            return super().forward(batched_inputs)

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        """Normalise the images of a batch and pad them with zeros to one size.

        Args:
            batched_inputs: one per image: "image", (3, height, width), uint8 or float in 0..255.

        Returns:
            The batch, (B, 3, height, width) in the precision of the weights.
        """
        dtype = self.pixel_mean.dtype
        mean, std = (
            torch.tensor(values, dtype=dtype, device=self.device)[:, None, None]
            for values in (self._mean, self._std)
        )
        images = [
            (_unit_range(x["image"].to(self.device), dtype) - mean) / std for x in batched_inputs
        ]
        return ImageList.from_tensors(
            images,
            self.backbone.size_divisibility,
            padding_constraints=self.backbone.padding_constraints,
        )


def _unit_range(image: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Pixels in 0..1; 8-bit ones by way of float32, as torchvision's ToTensor and the author do."""
    if image.dtype == torch.uint8:
        return (image.float() / 255).to(dtype)
    return image.to(dtype) / 255
