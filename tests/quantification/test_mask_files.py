"""Masks as PNG and as NIfTI: the values, and their place in the patient."""

import csv
import itertools

import numpy as np
import pycocotools.mask as mask_util
import pytest
import SimpleITK as sitk

from ctmasknet.data.images import read_mask
from ctmasknet.figures import lesion_colour
from ctmasknet.inference.predictions import Instance, SlicePrediction
from ctmasknet.quantification.label_map import (
    write_label_names,
    write_nifti_mask,
    write_slice_masks,
)
from ctmasknet.volumes.volume_files import read_volume

MARKED = 500  # HU


def instance(name, rows, columns, size=(6, 8)):
    mask = np.zeros(size, np.uint8, order="F")
    mask[rows, columns] = 1
    rle = mask_util.encode(mask)
    rle["counts"] = rle["counts"].decode()
    return Instance(name, 0.9, (0, 0, 1, 1), rle, int(mask.sum()))


def found(*instances, has_masks=True):
    return SlicePrediction((6, 8), ("GGO", "C"), instances, has_masks)


def test_a_png_for_each_slice_reads_back(tmp_path):
    first = found(instance("GGO", np.s_[1:3], np.s_[2:5]), instance("C", np.s_[4:6], np.s_[0:2]))
    write_slice_masks(tmp_path / "masks", [first, found()], ["one", "two.a"])
    files = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert files == ["one.png", "two.a.png"]
    expected = np.zeros((6, 8), np.uint8)
    expected[1:3, 2:5] = 1
    expected[4:6, 0:2] = 2
    assert np.array_equal(read_mask(tmp_path / "masks" / "one.png"), expected)
    assert not read_mask(tmp_path / "masks" / "two.a.png").any()


def test_a_model_without_masks_writes_none(tmp_path):
    with pytest.raises(ValueError, match="found boxes without masks"):
        write_slice_masks(tmp_path, [found(has_masks=False)], ["one"])
    assert list(tmp_path.iterdir()) == []


def rotation(degrees):
    """About the patient's x and z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array(
        [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    )


def save_source(path, order, signs, degrees):
    """A volume with one marked voxel, whose index axes i, j, k lie along the patient's `order`."""
    direction = np.zeros((3, 3))
    for column, (axis, sign) in enumerate(zip(order, signs, strict=True)):
        direction[axis, column] = sign
    size, spacing = np.array([7, 6, 5]), np.array([0.7, 0.7, 2.5])  # along the patient's x, y, z
    hu = np.full(size[list(order)][::-1], -900, np.int16)
    hu[1, 3, 2] = MARKED
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(spacing[list(order)].tolist())
    image.SetOrigin((-31.5, 12.25, 100.0))
    image.SetDirection((rotation(degrees) @ direction).ravel().tolist())
    sitk.WriteImage(image, str(path))


def place_of(path, value):
    """Where the only voxel of this value lies, in mm (LPS)."""
    image = sitk.ReadImage(str(path))
    indices = np.argwhere(sitk.GetArrayViewFromImage(image) == value)
    assert len(indices) == 1
    return image.TransformIndexToPhysicalPoint([int(index) for index in indices[0][::-1]])


ORIENTATIONS = list(
    zip(
        itertools.permutations(range(3)),
        [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, 1), (-1, -1, -1)],
        strict=True,
    )
)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_the_mask_lies_on_its_source(tmp_path, order, signs, suffix):
    source, mask = tmp_path / f"source{suffix}", tmp_path / "mask.nii.gz"
    save_source(source, order, signs, degrees=8)
    volume = read_volume(source)
    labels = np.where(volume.hu == MARKED, 2, 0).astype(np.uint8)
    write_nifti_mask(mask, volume, labels)
    assert np.allclose(place_of(mask, 2), place_of(source, MARKED), atol=1e-3)
    written = sitk.ReadImage(str(mask))
    assert written.GetPixelID() == sitk.sitkUInt8
    assert np.allclose(written.GetSpacing(), (0.7, 0.7, 2.5))
    assert np.array_equal(sitk.GetArrayViewFromImage(written), labels)


def test_the_header_tells_the_classes_if_there_is_room(tmp_path):
    save_source(tmp_path / "source.mha", (0, 1, 2), (1, 1, 1), 0)
    volume = read_volume(tmp_path / "source.mha")
    labels = np.zeros(volume.hu.shape, np.uint8)
    for classes, expected in (
        (("nodule", "pleural effusion"), "1=nodule,2=pleural effusion"),
        (("Knötchen",), "1=Knötchen"),
        (("n" * 40, "m" * 40), ""),
    ):
        write_nifti_mask(tmp_path / "mask.nii", volume, labels, classes)
        header = (tmp_path / "mask.nii").read_bytes()
        assert header[148:228].rstrip(b"\0").decode() == expected
    assert np.array_equal(
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "mask.nii"))), labels
    )


def test_the_classes_of_labels_are_a_table(tmp_path):
    write_label_names(tmp_path / "labels.csv", ["nodule", "pleural effusion", 'a "b"'])
    with open(tmp_path / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["label", "class", "colour"]
    assert [row[:2] for row in rows[1:]] == [
        ["1", "nodule"],
        ["2", "pleural effusion"],
        ["3", 'a "b"'],
    ]
    assert rows[1][2] == lesion_colour(0) != rows[2][2]


def test_labels_are_written_as_they_are_for_8_bit_input(tmp_path):
    grey = sitk.GetImageFromArray(np.full((3, 6, 6), 80, np.uint8))
    sitk.WriteImage(grey, str(tmp_path / "grey.mha"))
    labels = np.zeros((3, 6, 6), np.uint8)
    labels[1, 2, 3] = 1
    write_nifti_mask(tmp_path / "mask.nii", read_volume(tmp_path / "grey.mha"), labels)
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "mask.nii")))
    assert np.array_equal(written, labels)


def test_what_does_not_fit_is_refused(tmp_path):
    save_source(tmp_path / "source.mha", (0, 1, 2), (1, 1, 1), 0)
    volume = read_volume(tmp_path / "source.mha")
    with pytest.raises(ValueError, match=r"shape \(5, 7, 6\).*expected \(5, 6, 7\) in uint8"):
        write_nifti_mask(tmp_path / "mask.nii", volume, np.zeros((5, 7, 6), np.uint8))
    with pytest.raises(ValueError, match="in bool, expected"):
        write_nifti_mask(tmp_path / "mask.nii", volume, np.zeros((5, 6, 7), bool))
    with pytest.raises(ValueError, match=r"mask\.mha: expected a name.*\.nii\.gz or \.nii"):
        write_nifti_mask(tmp_path / "mask.mha", volume, np.zeros((5, 6, 7), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["source.mha"]
