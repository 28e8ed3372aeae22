"""How often grey values occur in an image."""

import numpy as np

BINS = 32


def histogram_features(image: np.ndarray) -> np.ndarray:
    """Return the share of a (H, W) uint8 image's pixels in each of 32 bins of grey value."""
    if image.dtype != np.uint8 or image.ndim != 2 or image.size == 0:
        raise ValueError(f"found {image.dtype} of shape {image.shape}, expected (H, W) uint8")
    counts = np.bincount(image.ravel() // (256 // BINS), minlength=BINS)
    return counts / image.size
