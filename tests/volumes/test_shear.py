"""Volume files whose axes are not at right angles: rounded ones are read, sheared ones refused."""

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import ORIGIN, image_of, save_volume

from ctmasknet.errors import collecting
from ctmasknet.volumes.volume_files import read_volume, write_volume

SPACING = np.array([0.7, 0.7, 2.0])


def turned(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def sheared(degrees):
    """Axes in mm of slices that are shifted to the back from one to the next."""
    axes = np.diag(SPACING)
    axes[1, 2] = axes[2, 2] * np.tan(np.radians(degrees))
    return axes


def save_axes(path, hu, axes):
    """Write HU with any axes in mm (LPS), in NIfTI by editing the header."""
    if ".nii" not in path.name:
        image = image_of(hu, np.linalg.norm(axes, axis=0).tolist())
        image.SetDirection((axes / np.linalg.norm(axes, axis=0)).ravel().tolist())
        sitk.WriteImage(image, str(path))
        return path
    save_volume(path, hu)
    content = bytearray(path.read_bytes())
    rows = np.diag([-1, -1, 1]) @ np.column_stack([axes, ORIGIN])
    struct.pack_into("<2h", content, 252, 0, 1)  # no qform, an sform
    struct.pack_into("<12f", content, 280, *rows.ravel())
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
def test_a_sheared_volume_is_treated_as_a_tilted_series(tmp_path, hu, suffix):
    path = save_axes(tmp_path / f"a{suffix}", hu, sheared(12))
    with pytest.raises(ValueError, match=r"sheared by 12\.0 degrees, as by .*dcm2niix"):
        read_volume(path)
    volume = read_volume(path, errors=(errors := collecting()))
    assert len(errors.messages) == 1 and np.array_equal(volume.hu, hu)
    assert np.allclose(volume.direction, np.eye(3), atol=1e-6)
    assert np.allclose(volume.spacing, SPACING[::-1]) and np.allclose(volume.origin, ORIGIN)
    write_volume(volume, tmp_path / "again.nii.gz")
    again = read_volume(tmp_path / "again.nii.gz")
    assert np.allclose(again.direction, volume.direction, atol=1e-6)
    assert np.allclose(again.origin, ORIGIN, atol=1e-4)


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("axes", [sheared(0.3), np.round(turned(6) * SPACING, 3)])
def test_axes_within_half_a_degree_are_made_straight(tmp_path, hu, suffix, axes):
    path = save_axes(tmp_path / f"a{suffix}", hu, axes)
    volume = read_volume(path)
    assert np.array_equal(volume.hu, hu)
    assert np.allclose(volume.direction.T @ volume.direction, np.eye(3), atol=1e-6)
    assert np.allclose(volume.direction * volume.spacing[::-1], axes, atol=0.015)
    assert np.allclose(volume.origin, ORIGIN)


def test_the_sform_counts_where_the_qform_differs(tmp_path, hu):
    path = save_axes(tmp_path / "a.nii", hu, np.diag(SPACING))
    content = bytearray(path.read_bytes())
    struct.pack_into("<h", content, 252, 1)  # a qform
    struct.pack_into("<6f", content, 256, 0, 0, 1, 40, 40, 40)  # turned about z, and elsewhere
    path.write_bytes(content)
    volume = read_volume(path)
    assert np.array_equal(volume.hu, hu)
    assert np.allclose(volume.direction, np.eye(3)) and np.allclose(volume.origin, ORIGIN)


def test_a_rounded_affine_of_a_compressed_file(tmp_path, hu):
    path = save_axes(tmp_path / "a.nii", hu, np.round(turned(10) * SPACING, 3))
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    volume = read_volume(tmp_path / "b.nii.gz")
    assert np.array_equal(volume.hu, hu)
    assert np.allclose(volume.direction, turned(10), atol=2e-3)
