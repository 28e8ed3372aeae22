"""Volumes: turned upright without copying, with exact geometry."""

import itertools

import numpy as np
import pytest

from ctmasknet.data.window import Window
from ctmasknet.errors import collecting
from ctmasknet.volumes.volume import upright_volume


def turned(hu, spacing, order, signs):
    """LPS data (z, y, x) as stored with index axis n (i, j, k) along the patient's axis order[n].

    Returns the stored array (k, j, i), its spacing (k, j, i), origin and direction.
    """
    origin = np.array([-100.0, -50.0, 20.0])
    direction = np.zeros((3, 3))
    flips = [np.s_[:]] * 3
    for column, (axis, sign) in enumerate(zip(order, signs, strict=True)):
        direction[axis, column] = sign
        if sign < 0:
            flips[2 - axis] = np.s_[::-1]
            origin[axis] += (hu.shape[2 - axis] - 1) * spacing[2 - axis]
    stored = hu[tuple(flips)].transpose([2 - axis for axis in reversed(order)])
    return stored, [spacing[2 - axis] for axis in reversed(order)], origin, direction


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_every_orientation_becomes_lps(tmp_path, order, signs):
    hu = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
    stored, spacing, origin, direction = turned(hu, (2.0, 0.7, 0.7), order, signs)
    files = [f"{k}.dcm" for k in range(len(stored))]
    volume = upright_volume(stored, spacing, origin, direction, tmp_path, slice_files=files)
    assert np.array_equal(volume.hu, hu)
    assert np.shares_memory(volume.hu, hu)
    assert volume.spacing == (2.0, 0.7, 0.7)
    assert np.allclose(volume.origin, (-100, -50, 20), atol=1e-9)
    assert np.array_equal(volume.direction, np.eye(3))
    if order[2] == 2:
        assert list(volume.slice_files) == files[:: signs[2]]
    else:
        assert volume.slice_files == ()
    assert volume.patient == volume.scan == tmp_path.name


def test_slightly_oblique_keeps_its_cosines(tmp_path):
    angle = np.radians(10)
    direction = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    flipped = direction * [1, -1, -1]
    hu = np.zeros((4, 6, 6), np.int16)
    volume = upright_volume(hu, (2, 1, 1), (0, 0, 0), flipped, tmp_path)
    assert np.allclose(volume.direction, direction)
    # The new first voxel lay at the end of both flipped axes.
    assert np.allclose(volume.origin, flipped @ [0, 5, 6])


def test_what_is_not_axial_is_refused(tmp_path):
    hu = np.zeros((4, 6, 6), np.int16)
    with pytest.raises(ValueError, match=r"pixels of 2 x 0\.7 mm.*resample it to axial"):
        stored, *place = turned(hu, (0.7, 2.0, 0.7), (0, 2, 1), (1, -1, 1))
        upright_volume(stored, *place, tmp_path)
    angle = np.radians(30)
    direction = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    with pytest.raises(ValueError, match="turned by 30 degrees.*resample it to axial"):
        upright_volume(hu, (1, 1, 1), (0, 0, 0), direction, tmp_path)
    errors = collecting()
    volume = upright_volume(hu, (1, 1, 1), (0, 0, 0), direction, tmp_path, errors=errors)
    assert len(volume) == 4 and len(errors.messages) == 1


def test_slices_are_rgb_in_the_window_asked_for(tmp_path):
    hu = np.full((2, 3, 4), -600, np.int16)
    hu[1] = 400
    volume = upright_volume(hu, (1, 1, 1), (0, 0, 0), np.eye(3), tmp_path / "a.nii.gz")
    assert len(volume) == 2
    assert volume.slice(0).shape == (3, 4, 3) and volume.slice(0).dtype == np.uint8
    assert [int(image.max()) for image in volume.slices()] == [128, 255]
    assert [int(image.max()) for image in volume.slices("bone")] == [0, 128]
    assert volume.slice(0, "1200,0").max() == 0
    with pytest.raises(IndexError):
        volume.slice(2)
    with pytest.raises(ValueError, match="did you mean 'lung'"):
        volume.slices("lun")


def test_windowed_input_gives_its_own_grey_values_and_no_other_window(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    window = Window.parse("mediastinum")
    volume = upright_volume(
        window.to_hu(grey), (1, 1, 1), (0, 0, 0), np.eye(3), tmp_path, windowed=window
    )
    for asked in (None, "mediastinum", window):
        assert np.array_equal(volume.slice(0, asked), np.stack([grey[0]] * 3, axis=-1))
    with pytest.raises(ValueError, match="the window 1500,-600 cannot be made"):
        volume.slice(0, "lung")
