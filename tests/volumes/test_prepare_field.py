"""Scans whose slices are cropped to what the network sees."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from ctmasknet.data.image_lists import load_image_list
from ctmasknet.data.images import read_slice
from ctmasknet.errors import collecting
from ctmasknet.volumes import read_volume
from ctmasknet.volumes.volume_list import VolumeEntry
from ctmasknet.volumes.volume_slices import write_slices

BOX = np.s_[48:143, 33:168]  # of the lungs, and 10 mm more


def write_scan(path, lungs):
    """A body on slices of 2 mm pixels; `lungs` tells which slices show lung."""
    hu = np.full((len(lungs), 200, 200), -1000, np.int16)
    ys, xs = np.ogrid[:200, :200]
    hu[:, ((xs - 100) / 80) ** 2 + ((ys - 95) / 60) ** 2 <= 1] = 40
    lung = sum(((xs - x) / 22) ** 2 + ((ys - 95) / 42) ** 2 <= 1 for x in (60, 140)) > 0
    hu[np.array(lungs)[:, None, None] & lung] = -850
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((2.0, 2.0, 5.0))
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def scan(tmp_path):
    return write_scan(tmp_path / "healthy.nii.gz", [False, False, True, True, True])


def test_slices_of_the_lung_alone_cropped_to_it(scan, tmp_path, command):
    status, printed, _ = command(
        *("prepare", "volumes", scan, "--label", "Control", "--keep-identifiers"),
        *("--field-of-view", "lung", "--output", tmp_path / "out"),
    )
    assert status == 0
    records = load_image_list(tmp_path / "out/slices.csv")
    names = [f"slices/healthy/{z:04d}.png" for z in (2, 3, 4)]  # z of the scan stays
    assert [x["image_id"] for x in records] == names
    assert {x["scan"] for x in records} == {x["patient"] for x in records} == {"healthy"}
    whole = read_volume(scan).slice(3)
    assert np.array_equal(read_slice(tmp_path / "out" / names[1]), whole[BOX])
    row = " ".join(printed.splitlines()[1].split())
    assert row.startswith("3 95 x 135 5, 2, 2 1500,-600 healthy, x 33 to 167 and y 48 to 142 of")
    assert row.endswith("2 slices without lung left out")


def test_the_body_leaves_no_slice_out(scan, tmp_path):
    table = write_slices([VolumeEntry(scan, "0")], tmp_path / "out", field_of_view="body")
    records = load_image_list(tmp_path / "out/slices.csv")
    assert len(records) == 5 and "left out" not in table
    height, width, _ = read_slice(records[0]["file_name"]).shape
    assert (height, width) == pytest.approx((131, 171), abs=4)


def test_a_scan_without_lung_is_refused_or_skipped(scan, tmp_path):
    legs = write_scan(tmp_path / "legs.nii.gz", [False] * 3)
    entries = [VolumeEntry(legs, "0"), VolumeEntry(scan, "0")]
    with pytest.raises(ValueError, match=r"legs\.nii\.gz: no plausible lung: .*; leave it out, or"):
        write_slices(entries, tmp_path / "out", field_of_view="lung")
    assert not (tmp_path / "out").exists()
    errors = collecting()
    write_slices(entries, tmp_path / "out", field_of_view="lung", errors=errors)
    assert len(load_image_list(tmp_path / "out/slices.csv")) == 3 and len(errors.messages) == 1
    with pytest.raises(ValueError, match="is 'chest', expected one of image, body, lung"):
        write_slices(entries, tmp_path / "other", field_of_view="chest")


def test_lesions_of_a_crop_go_back_to_their_place(scan, tmp_path, command):
    labels = np.zeros((5, 200, 200), np.uint8)
    labels[2:4, 90:100, 55:65] = 1
    labels[0, 90:100, 60] = labels[3, 0, 0] = 1  # on a slice without lung; outside the body
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(sitk.ReadImage(str(scan)))
    sitk.WriteImage(image, str(tmp_path / "mask.mha"))
    status, printed, _ = command(
        *("prepare", "volumes", scan, "--masks", tmp_path / "mask.mha", "--values", "1=GGO"),
        *("--keep-identifiers", "--field-of-view", "lung", "--output", tmp_path / "out"),
    )
    assert status == 0
    assert "note: healthy: 11 lesion voxels outside the field of view left out" in printed
    path = tmp_path / "out/lesions.json"
    coco = json.loads(path.read_text())
    assert [x["slice_index"] for x in coco["images"]] == [2, 3, 4]
    assert [x["bbox"] for x in coco["annotations"]] == [[55 - 33, 90 - 48, 10, 10]] * 2
    assert command("prepare", "label-maps", path, "--output", tmp_path / "back")[0] == 0
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "back/healthy.nii.gz")))
    labels[0] = labels[3, 0, 0] = 0
    assert np.array_equal(found, labels)
