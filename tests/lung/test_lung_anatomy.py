"""What lies beside lungs, drawn: airway, bowel, diaphragm; and cavities and emphysema in them.

Slices of 200 x 200 pixels of 2 mm, 5 mm apart, lowest first.
"""

import cv2
import numpy as np
import pytest

from ctmasknet.lung import find_lung

SIZE, SPACING = 200, (5.0, 2.0, 2.0)
GAS, LUNG, TISSUE = -1000, -850, 40


def disc(centre, radii):
    canvas = np.zeros((SIZE, SIZE), np.uint8)
    return cv2.ellipse(canvas, centre, radii, 0, 0, 360, 1, cv2.FILLED) > 0


def grown(mask, pixels):
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2)) > 0


BODY = disc((100, 95), (80, 60))
LEFT, RIGHT = disc((140, 95), (26, 42)), disc((60, 95), (26, 42))
ROWS = np.arange(SIZE)[:, np.newaxis] * np.ones(SIZE, int)


def chest(abdomen=4, lungs=8):
    """A body with two lungs above its abdomen."""
    hu = np.full((abdomen + lungs, SIZE, SIZE), GAS, np.int16)
    hu[:, BODY] = TISSUE
    hu[abdomen:, LEFT | RIGHT] = LUNG
    return hu


def found(hu):
    return find_lung(hu, SPACING).mask


def test_the_trachea_between_lungs_that_nearly_meet():
    hu, trachea = chest(0, 8), disc((100, 95), (5, 5))
    lungs = disc((134, 95), (27, 42)) | disc((66, 95), (27, 42))  # 4 mm beside it
    hu[:, lungs] = LUNG
    hu[6:, LEFT | RIGHT | lungs] = TISSUE  # the neck
    hu[:, trachea] = GAS
    hu[3, 95, 104:108] = -600  # its wall, thin: in this slice trachea and lung are one piece of air
    mask = found(hu)
    assert not mask[:, trachea].any()
    assert mask[:6, lungs].mean() > 0.97 and not mask[6:].any()


@pytest.mark.parametrize("wall", [TISSUE, -400], ids=["apart", "touching"])
def test_colon_beside_and_below_the_lung(wall):
    hu, colon, base = chest(), disc((140, 78), (14, 10)), LEFT & (ROWS > 91)
    hu[2:4, base] = LUNG  # the base of the lung, behind the colon
    hu[:4, grown(colon, 2) & base] = wall
    hu[:4, colon] = GAS  # right under the lung in the slice above
    mask = found(hu)
    assert not mask[:, colon][:4].any()
    assert mask[2:4, base & ~grown(colon, 3)].all() and mask[4:, LEFT | RIGHT].all()


def test_stool_and_gas_below_the_lungs_are_no_part_of_them():
    hu, colon = chest(), disc((100, 80), (40, 12))
    hu[:3, colon] = -600  # as large as a part of a lung, as dense as a lesion, apart from both
    mask = found(hu)
    assert not mask[:4].any() and mask[4:, LEFT | RIGHT].all()


@pytest.mark.parametrize("radii", [(16, 12), (30, 20)], ids=["small", "distended"])
def test_a_stomach_under_the_diaphragm(radii):
    hu, stomach = chest(), disc((132, 85), radii)
    hu[:4, stomach] = GAS  # 12.5 % of the section if distended
    mask = found(hu)
    assert not mask[:4].any() and mask[4:, LEFT | RIGHT].all()


def test_the_top_of_a_colon_is_no_lung():
    hu, colon, top = chest(), disc((140, 66), (9, 9)), disc((140, 66), (6, 6))
    base = LEFT & (ROWS > 80)
    hu[2:4, base] = LUNG  # behind the colon
    hu[:3, colon] = GAS
    hu[3, top] = LUNG  # in part: as dense as lung, and right under it
    mask = found(hu)
    assert not mask[:3, colon].any() and not mask[3, top].any()
    assert mask[2:4, base].mean() > 0.97


def test_a_main_bronchus_is_followed_where_it_is_narrow_and_grey():
    hu, trachea = chest(0, 8), disc((100, 95), (5, 5))
    hu[:, trachea] = GAS
    for z, column in enumerate((88, 92, 96)):
        hu[z, trachea] = TISSUE
        hu[z, 93:97, column - 2 : column + 3] = -900
    hu[:3, 93:97, 84] = -500  # the lung's edge, 2 mm off the lowest
    mask = found(hu)
    assert not mask[:, trachea].any() and not mask[0, 93:97, 86:91].any()


def test_a_bronchus_in_the_lung_is_lung():
    hu, bronchus = chest(0, 8), disc((60, 95), (2, 2))
    hu[:, grown(bronchus, 2)] = TISSUE
    hu[:, bronchus] = GAS
    assert found(hu)[:, RIGHT].all()


@pytest.mark.parametrize("gap", [4, 8], ids=["8 mm", "16 mm"])
def test_what_lies_between_two_lungs_is_no_lung(gap):
    hu = chest(0, 4)
    hu[:, LEFT | RIGHT] = TISSUE
    block = np.zeros_like(BODY)
    block[60:130, 50:150] = True
    between = np.zeros_like(BODY)
    between[60:130, 102 : 102 + gap] = True  # off the body's middle
    hu[:, block & ~between] = LUNG
    hu[:, block & grown(between, 30) & (ROWS > 90) & (ROWS < 94) & ~between] = TISSUE  # vessels
    mask = found(hu)
    assert not mask[:, between].any()
    assert mask[:, block & ~grown(between, 2)].all()


def test_emphysema_is_lung():
    hu = chest(0, 8)
    hu[:, LEFT | RIGHT] = -960
    vessels = np.zeros_like(BODY)
    for row in range(60, 130, 12):
        for column in range(40, 160, 12):
            vessels[row : row + 3, column : column + 3] = True
    hu[:, vessels & (LEFT | RIGHT)] = TISSUE
    assert found(hu)[:, LEFT | RIGHT].mean() > 0.97


def test_a_cavity_at_the_pleura_is_lung():
    hu, cavity = chest(0, 8), disc((157, 95), (5, 5))
    wall = grown(cavity, 2) & ~cavity
    hu[3:6, wall] = TISSUE
    hu[3:6, cavity] = GAS
    assert found(hu)[:, LEFT & cavity].all()


def test_the_dome_of_the_diaphragm_is_no_lung_and_a_nodule_is():
    hu, dome = chest(0, 8), disc((60, 100), (10, 10))
    hu[0, disc((60, 100), (26, 42))] = TISSUE
    hu[1, dome] = hu[4, dome] = TISSUE  # above the liver; and between slices of lung
    mask = found(hu)
    assert not mask[1, disc((60, 100), (7, 7))].any()
    assert mask[4, dome].all()


def test_large_images_are_outlined_at_their_own_size():
    hu, lungs = chest(0, 2)[:, :, :], LEFT | RIGHT
    large = np.kron(hu, np.ones((1, 3, 3), np.int16))
    true = np.kron(lungs, np.ones((3, 3), bool))
    mask = find_lung(large, (5.0, 2 / 3, 2 / 3)).mask
    assert mask.shape == large.shape
    assert all((part == true).mean() > 0.999 for part in mask)


def test_values_of_other_types_and_read_only_views_give_the_same_lung():
    hu = np.kron(chest(), np.ones((1, 3, 3), np.int16))
    as_float = hu[::-1].astype(np.float32)[::-1]
    as_float.flags.writeable = False
    spacing = (5.0, 2 / 3, 2 / 3)
    assert (find_lung(hu, spacing).mask == find_lung(as_float, spacing).mask).all()
