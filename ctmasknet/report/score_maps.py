"""Score maps as pictures, on one fixed scale."""

import numpy as np

from ..modeling.mask_head import MASK_CUT

# Blue below the cut, pale at it, red above it: perceptual, and told apart by the colour-blind. The
# range is fixed, so that slices can be compared; nearly all of the demo's mask logits on phantoms
# lie in it. Colours: ColorBrewer's RdBu, reversed.
HALF_RANGE = 6.0
_BLUE_TO_RED = bytes.fromhex("0530612166ac4393c392c5ded1e5f0f7f7f7fddbc7f4a582d6604db2182b67001f")
_OUTSIDE = (48, 48, 48)  # the colour outside the boxes


def colour_table(size: int = 256) -> np.ndarray:
    """Return the scale's colours from low to high, (size, 3) uint8 RGB."""
    known = np.frombuffer(_BLUE_TO_RED, np.uint8).reshape(-1, 3)
    places = np.linspace(0, len(known) - 1, size)
    mixed = [np.interp(places, range(len(known)), channel) for channel in known.T]
    return np.rint(np.stack(mixed, axis=1)).astype(np.uint8)


_TABLE = colour_table()


def score_map_picture(score_map: np.ndarray) -> np.ndarray:
    """Colour raw mask logits (H, W), which are NaN outside all boxes; return (H, W, 3) uint8 RGB.

    The scale is fixed: dark blue at -5.5 and below, pale at the masks' cut of 0.5, dark red at 6.5
    and above; dark grey outside the boxes.
    """
    share = (np.nan_to_num(score_map, nan=MASK_CUT) - MASK_CUT + HALF_RANGE) / (2 * HALF_RANGE)
    picture = _TABLE[np.clip(share * len(_TABLE), 0, len(_TABLE) - 1).astype(np.uint8)]
    picture[np.isnan(score_map)] = _OUTSIDE
    return picture
