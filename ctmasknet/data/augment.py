"""Augmentations of training slices, by keys of the config."""

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from fvcore.transforms.transform import BlendTransform
from PIL import Image


class NearestExtentTransform(T.ExtentTransform):
    """Detectron2's, with masks of the nearest pixels: Pillow's NEAREST, 0, is no choice to it."""

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        nearest = T.ExtentTransform(self.src_rect, self.output_size, Image.Resampling.NEAREST)
        return nearest.apply_image(segmentation)


class RandomPart(T.RandomExtent):
    """Detectron2's RandomExtent by NearestExtentTransform."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        drawn = super().get_transform(image)
        return NearestExtentTransform(drawn.src_rect, drawn.output_size)


class RandomNoise(T.Augmentation):
    """Add Gaussian noise, the same in all channels, of a random standard deviation."""

    def __init__(self, most: float):
        """Draw standard deviations from 0 to `most`, in grey values of 0..255."""
        super().__init__()
        self.most = most

    def get_transform(self, image: np.ndarray) -> T.Transform:
        # A generator of its own: it draws float32, three times as fast as np.random.normal.
        generator = np.random.default_rng(np.random.randint(2**31))
        noise = generator.standard_normal((*image.shape[:2], 1), dtype=np.float32)
        return BlendTransform(noise * np.float32(np.random.uniform(0, self.most)), 1, 1)


def build_intensity_and_shape(cfg: CfgNode) -> list[T.Augmentation]:
    """Build what INPUT.AUGMENT asks for, to be applied before resizing.

    Returns:
        Detectron2's augmentations, and RandomNoise; those whose key is 0 are left out.

    Raises:
        ValueError: a key that is out of its range.
    """
    keys = cfg.INPUT.AUGMENT
    for key, most in (("SCALE", 1), ("SHIFT", 1), ("BRIGHTNESS", 1), ("CONTRAST", 1)):
        if not 0 <= keys[key] < most:
            raise ValueError(f"INPUT.AUGMENT.{key} is {keys[key]}, expected 0 to below {most}")
    if keys.ROTATION < 0 or keys.NOISE < 0:
        raise ValueError("INPUT.AUGMENT.ROTATION and NOISE: expected 0 or more")
    if not 0 <= keys.PASTE <= 1:
        raise ValueError(f"INPUT.AUGMENT.PASTE is {keys.PASTE}, expected a chance of 0 to 1")
    found: list[T.Augmentation] = []
    if keys.ROTATION:
        found.append(T.RandomRotation([-keys.ROTATION, keys.ROTATION], expand=False))
    if keys.SCALE or keys.SHIFT:
        # The part of the image that is kept; beyond the border it is black.
        part = (1 - keys.SCALE, 1 + keys.SCALE)
        found.append(RandomPart(part, (2 * keys.SHIFT, 2 * keys.SHIFT)))
    if keys.BRIGHTNESS:
        found.append(T.RandomBrightness(1 - keys.BRIGHTNESS, 1 + keys.BRIGHTNESS))
    if keys.CONTRAST:
        found.append(T.RandomContrast(1 - keys.CONTRAST, 1 + keys.CONTRAST))
    if keys.NOISE:
        found.append(RandomNoise(keys.NOISE))
    return found
