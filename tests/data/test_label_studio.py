"""Masks as Label Studio's brush has them."""

import numpy as np
import pytest

from ctmasknet.data.label_studio import brush_mask, brush_rle, label_config

# As label-studio-sdk 2.1.2 encodes this mask (converter.brush.mask2rle).
MASK = np.array([[0, 1, 1], [0, 0, 1]], bool)
RLE = [0, 0, 0, 24, 57, 27, 252, 96, 19, 255, 206, 1, 31, 248]


def test_masks_are_as_label_studio_has_them():
    assert brush_rle(MASK) == RLE
    assert (brush_mask(RLE, (2, 3)) == MASK).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (150, 140)])
def test_masks_come_back(size, share):
    mask = np.random.default_rng(0).random(size) < share
    assert (brush_mask(brush_rle(mask), size) == mask).all()


def test_values_that_stand_one_by_one_are_read():
    """A run of four different values, one channel each: 0 bit, kind 0 (3 bits), length 4."""
    bits = f"{4:032b}" + f"{7:05b}" + "0010" + "0011" + "0111" + "1111"
    bits += "0" + "00" + "011" + "".join(f"{value:08b}" for value in (255, 0, 0, 128))
    bits += "0" * (-len(bits) % 8)
    rle = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    assert brush_mask(rle, (1, 1)).tolist() == [[True]]


@pytest.mark.parametrize("rle", [[], RLE[:-3], [0, 0, 0, 25, *RLE[4:]], [300], "text", [1.5] * 20])
def test_what_is_no_mask_is_an_error(rle):
    with pytest.raises(ValueError, match=r"not a usable mask of the brush of 2 x 3 pixels"):
        brush_mask(rle, (2, 3))


def test_names_of_classes_are_escaped():
    assert '<Label value="a&lt;b &amp; c" background="#e69f00"/>' in label_config(
        {"a<b & c": "#e69f00"}
    )
