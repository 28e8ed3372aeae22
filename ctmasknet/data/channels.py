"""What the three channels of a model's input hold: INPUT.CHANNELS.

The middle channel is always the slice itself in the model's own window, so whatever reads grey
values (lung, density) reads that one. A PNG says by a text in its header what it holds; an image
without it is grey.

Shapes: slices of Y x X pixels, Z of them in a scan.
"""

import os

import numpy as np
from PIL import Image, PngImagePlugin

from ..atomic_write import atomic_write
from .window import WINDOWS, Window

GREY, THREE_WINDOWS, NEIGHBOURS = CHANNELS = ("grey", "windows", "neighbours")
CHANNELS_TEXT = "ctmasknet channels"  # keyword of the text in a PNG


def check_channels(channels: str) -> str:
    """Return a value of INPUT.CHANNELS; a ValueError if it is none."""
    if channels not in CHANNELS:
        raise ValueError(f"INPUT.CHANNELS is {channels!r}; valid are {', '.join(CHANNELS)}")
    return channels


def channel_windows(own: Window, channels: str) -> tuple[Window, Window, Window]:
    """Return the windows of the three channels; `own` is the model's (lung)."""
    if channels == THREE_WINDOWS:
        return WINDOWS["mediastinum"], own, WINDOWS["wide"]
    return own, own, own


def slice_channels(hu: np.ndarray, z: int, own: Window, channels: str) -> np.ndarray:
    """Make a slice of a scan what a model reads.

    Args:
        hu: (Z, Y, X) in HU, the lowest slice first.
        z: index of the slice.
        own: window of HU of the model.
        channels: "grey": the slice, three times. "windows": in the windows mediastinum, `own` and
            wide. "neighbours": the slice below, itself, and the one above; the first and the last
            slice stand for their own missing neighbour.

    Returns:
        (Y, X, 3) uint8, RGB.

    Raises:
        ValueError: neighbours of a single slice, or NaN among the HU.
    """
    if check_channels(channels) == GREY:
        return np.repeat(own.to_uint8(hu[z])[..., np.newaxis], 3, axis=-1)
    if channels == NEIGHBOURS and len(hu) == 1:
        raise ValueError("a single slice has no neighbours, which INPUT.CHANNELS neighbours wants")
    near = (max(z - 1, 0), z, min(z + 1, len(hu) - 1)) if channels == NEIGHBOURS else (z, z, z)
    windows = channel_windows(own, channels)
    return np.stack([w.to_uint8(hu[k]) for w, k in zip(windows, near, strict=True)], axis=-1)


def require_channels(place: str | os.PathLike, found: str, wanted: str) -> None:
    """Raise a ValueError for a slice with other channels than a model reads."""
    if found != wanted:
        how = f"make it of the scan by `ctmasknet prepare volumes --channels {wanted}`"
        raise ValueError(
            f"{place}: found a slice with the channels '{found}', but INPUT.CHANNELS is "
            f"'{wanted}': {how}, or predict the scan itself"
        )


def require_unlike(image: np.ndarray, wanted: str) -> None:
    """Raise a ValueError for an array (Y, X, 3) with equal channels where a model reads others."""
    if wanted != GREY and (image == image[..., :1]).all():
        require_channels("an image", GREY, wanted)


def write_channels(path: str | os.PathLike, image: np.ndarray, channels: str) -> None:
    """Write (Y, X, 3) uint8 RGB as a PNG that says what its channels hold, whole or not at all."""
    text = PngImagePlugin.PngInfo()
    text.add_text(CHANNELS_TEXT, channels)
    with atomic_write(path) as partial:
        Image.fromarray(image).save(partial, format="PNG", pnginfo=text)
