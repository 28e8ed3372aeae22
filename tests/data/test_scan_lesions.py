"""Lesions in three dimensions of slices of scans, by hand-made and random volumes."""

import numpy as np
import pytest
from scipy import ndimage

from ctmasknet.data.classes import MaskValues
from ctmasknet.data.coco_lesions import read_coco_lesions
from ctmasknet.data.lesion_masks import lesion_instances, write_coco
from ctmasknet.data.regroup import regroup
from ctmasknet.data.scan_lesions import lesion_ids

VALUES = MaskValues({1: "GGO", 2: "C"})


def coco_of(*volumes, numbers=None):
    """The data set of scans "s0", "s1", ... with (Z, Y, X) masks."""
    images, lesions = [], []
    for scan, labels in enumerate(volumes):
        height, width = labels.shape[1:]
        for z, part in zip(numbers or range(len(labels)), labels, strict=True):
            name, size = f"{scan}_{z}.png", {"height": height, "width": width}
            own = {"id": len(images) + 1, "file_name": name, **size}
            images.append({**own, "scan": f"s{scan}", "slice_index": z})
            lesions += [{"image_id": own["id"], **x} for x in lesion_instances(part, VALUES, "", 0)]
    for number, (x, lesion) in enumerate(zip(lesions, lesion_ids(images, lesions), strict=True), 1):
        x |= {"id": number, "lesion_id": lesion}
    categories = [{"id": k, "name": name} for k, name in ((1, "GGO"), (2, "C"))]
    return {"images": images, "annotations": lesions, "categories": categories}


def ids(coco):
    return [x["lesion_id"] for x in coco["annotations"]]


def test_a_corner_links_and_a_gap_does_not():
    labels = np.zeros((5, 6, 6), np.uint8)
    labels[0, :2, :2] = labels[1, 2:4, 2:4] = 1  # share a corner
    labels[1, :2, 5] = labels[2, :2, 5] = 1
    labels[3, 3:5, 3:5] = 1  # slice 2 has nothing there
    assert ids(coco_of(labels)) == [1, 2, 1, 2, 3]


def test_two_that_meet_later_are_one_and_classes_stay_apart():
    labels = np.zeros((3, 5, 7), np.uint8)
    labels[0, 1:3, 1] = labels[0, 1:3, 5] = 1
    labels[1, 1:3, 1:6] = 1
    labels[2, 1:3, 1:6] = 2
    assert ids(coco_of(labels)) == [1, 1, 1, 2]


def test_each_scan_counts_from_one_and_slices_left_out_do_not_link():
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[:, 1:3, 1:3] = 1
    assert ids(coco_of(labels, labels)) == [1, 1, 1, 1]
    assert ids(coco_of(labels, numbers=[3, 5])) == [1, 2]


@pytest.mark.parametrize("seed", range(3))
def test_as_26_connected_components_of_the_volume(seed):
    labels = np.random.default_rng(seed).choice(3, (6, 12, 12), p=[0.9, 0.05, 0.05]).astype("u1")
    coco = coco_of(labels)
    expected, counts = {}, []
    for value in (1, 2):
        found, count = ndimage.label(labels == value, np.ones((3, 3, 3)))
        counts.append(count)
        for x in coco["annotations"]:
            if x["category_id"] == value:
                z = coco["images"][x["image_id"] - 1]["slice_index"]
                left, top, width, height = x["bbox"]
                inside = labels[z, top : top + height, left : left + width] == value
                own = np.unique(found[z, top : top + height, left : left + width][inside])
                if len(own) == 1:  # else another one lies in the box, too
                    expected.setdefault((value, own[0]), set()).add(x["lesion_id"])
    assert all(len(members) == 1 for members in expected.values())
    assert len({*ids(coco)}) == sum(counts)


def test_images_without_a_place_have_none_and_neither_have_crowds():
    coco = coco_of(np.ones((2, 3, 3), np.uint8))
    coco["annotations"][1]["iscrowd"] = 1
    assert lesion_ids(coco["images"], coco["annotations"]) == [1, None]
    for image in coco["images"]:
        del image["scan"]
    assert lesion_ids(coco["images"], coco["annotations"]) == [None, None]


def test_merging_classes_merges_their_lesions():
    """GGO below C becomes one; a bridge too small to stay still joins what it joins."""
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[0, :3, :3] = 1
    labels[1, :3, :3] = 2
    labels[2, 1, 1] = 1
    labels[3, :3, :3] = 2
    labels[3, 5:8, 5:8] = 1
    coco = coco_of(labels)
    assert ids(coco) == [1, 2, 3, 4, 5]
    merged = regroup(coco, "merge", min_area=4)
    assert ids(merged) == [1, 1, 1, 2]
    assert [x["image_id"] for x in merged["annotations"]] == [1, 2, 4, 4]
    assert ids(regroup(coco, "both", min_area=4)) == [1, 2, 4, 5]  # as they were


def test_keys_are_checked(tmp_path):
    coco = coco_of(np.ones((1, 3, 3), np.uint8))
    for key, value in (("slice_index", -1), ("slice_index", "3"), ("spacing", [1, 0, 1])):
        changed = [{**coco["images"][0], key: value}]
        write_coco({**coco, "images": changed}, tmp_path / "bad.json")
        with pytest.raises(ValueError, match=f"bad.json, image 0: {key} is "):
            read_coco_lesions(tmp_path / "bad.json")
