"""Masks -> instances, by hand-made examples; folders -> COCO JSON that opens anywhere."""

import json
import shutil

import numpy as np
import pycocotools.mask as mask_util
import pytest
from PIL import Image

from ctmasknet.data.classes import MASK_PRESETS, MaskValues, default_mask_type
from ctmasknet.data.lesion_masks import (
    coco_from_pairs,
    describe_coco,
    lesion_instances,
    values_by_rank,
    write_coco,
)
from ctmasknet.data.mask_pairs import pair_files
from ctmasknet.errors import collecting

CNCB = MASK_PRESETS["cncb"]


@pytest.fixture
def mask():
    """40 x 60: lung, a GGO of 12 x 10 with a consolidation of 6 x 5 inside, one of 20 x 6 apart."""
    mask = np.zeros((40, 60), np.uint8)
    mask[2:38, 2:58] = 1
    mask[5:17, 10:20] = 2
    mask[8:14, 12:17] = 3
    mask[25:31, 30:50] = 3
    return mask


def summary(instances):
    return [(item["category_id"], item["bbox"], item["area"]) for item in instances]


def test_mask_types(mask):
    merged = [(1, [10, 5, 10, 12], 120), (1, [30, 25, 20, 6], 120)]
    assert summary(lesion_instances(mask, CNCB, "merge", 0)) == merged
    assert summary(lesion_instances(mask, CNCB, "ggo", 0)) == [(1, [10, 5, 10, 12], 90)]
    assert summary(lesion_instances(mask, CNCB, "both", 0)) == [
        (1, [10, 5, 10, 12], 90),
        (2, [12, 8, 5, 6], 30),
        (2, [30, 25, 20, 6], 120),
    ]


def test_minimum_area_is_exclusive(mask):
    assert len(lesion_instances(mask, CNCB, "merge", 119)) == 2
    assert lesion_instances(mask, CNCB, "merge", 120) == []


def test_classes_by_value_not_by_rank():
    mask = np.zeros((20, 20), np.uint8)
    mask[:, :10] = 3  # {0, 3}: rank 1, and yet consolidation
    assert summary(lesion_instances(mask, CNCB, "both")) == [(2, [0, 0, 10, 20], 200)]
    assert lesion_instances(mask, CNCB, "ggo") == []


@pytest.mark.parametrize(
    ("present", "read"),
    [
        ({0, 1, 2, 3}, {0: 0, 1: 1, 2: 2, 3: 3}),
        ({0, 1, 3}, {0: 0, 1: 1, 3: 2}),  # consolidation called GGO
        ({0, 2, 3}, {0: 0, 2: 1, 3: 2}),  # GGO called lung, consolidation GGO
        ({0, 3}, {0: 0, 3: 1}),  # nothing left
        ({1, 2}, {1: 0, 2: 1}),  # no background: its lowest value is taken for it
    ],
)
def test_values_by_rank(present, read):
    mask = np.array([sorted(present)] * 2, np.uint8)
    assert values_by_rank(mask, CNCB).tolist() == [[read[value] for value in sorted(present)]] * 2


def test_by_rank_switch():
    mask = np.zeros((20, 20), np.uint8)
    mask[:, 5:] = 1
    mask[:, 10:] = 3
    assert summary(lesion_instances(mask, CNCB, "both")) == [(2, [10, 0, 10, 20], 200)]
    by_rank = lesion_instances(mask, CNCB, "both", by_rank=True)
    assert summary(by_rank) == [(1, [10, 0, 10, 20], 200)]


def test_diagonal_pixels_touch():
    mask = np.eye(5, dtype=np.uint8)
    assert summary(lesion_instances(mask, MASK_PRESETS["medseg"], "merge", 4)) == [
        (1, [0, 0, 5, 5], 5)
    ]


def test_rle_round_trip(mask):
    instances = lesion_instances(mask, CNCB, "both", 0)
    again = json.loads(json.dumps(instances))
    ggo, *consolidations = (mask_util.decode(item["segmentation"]) for item in again)
    assert np.array_equal(ggo == 1, mask == 2)
    assert np.array_equal(sum(consolidations) == 1, mask == 3)


def test_empty_and_full_masks():
    assert lesion_instances(np.zeros((9, 9), np.uint8), CNCB, "both") == []
    full = lesion_instances(np.full((11, 12), 2, np.uint8), CNCB, "both")
    assert summary(full) == [(1, [0, 0, 12, 11], 132)]


def test_contract(mask):
    with pytest.raises(ValueError, match=r"unknown value\(s\) 3, expected .*1=GGO, 2=C"):
        lesion_instances(mask, MaskValues({1: "GGO", 2: "C"}), "both")
    with pytest.raises(ValueError, match="mask type 'all' asks for .*found GGO, C.*both, merge, g"):
        lesion_instances(mask, CNCB, "all")


def test_mask_values_parse():
    values = MaskValues.parse("1=GGO, 2=C,3=background")
    assert values.names == {1: "GGO", 2: "C", 3: "background"}
    assert values.categories("both") == {0: 0, 1: 1, 2: 2, 3: 0}
    assert MaskValues.parse("7=lesion").categories("merge") == {0: 0, 7: 1}
    for text in ("", "GGO", "1=", "x=C", "1=GGO,1=C", "1=a+b", "0=C", "256=C"):
        with pytest.raises(ValueError, match="mask value"):
            MaskValues.parse(text)


def test_lesion_is_either_of_ggo_and_consolidation():
    for text in ("7=lesion", "1=GGO,2=C,7=lesion"):
        for mask_type in ("both", "ggo"):
            with pytest.raises(ValueError, match="either of GGO and C: take together"):
                MaskValues.parse(text).categories(mask_type)
    assert MaskValues.parse("1=GGO,2=C,7=lesion").categories("merge") == {0: 0, 1: 1, 2: 1, 7: 1}


def test_values_of_ones_own():
    values = MaskValues.parse("5=nodule,2=cavity,3=background,9=nodule")
    assert values.lesions == values.classes("") == ("cavity", "nodule")
    assert values.categories("") == {0: 0, 2: 1, 3: 0, 5: 2, 9: 2}
    assert values.categories("nodule") == {0: 0, 2: 0, 3: 0, 5: 1, 9: 1}
    assert values.categories("hole=cavity,nodule") == values.categories("")
    assert values.classes("any=*") == ("any",)
    with pytest.raises(ValueError, match="all mask values are background"):
        MaskValues.parse("3=background").categories("")


@pytest.mark.parametrize(
    ("text", "mask_type"), [("1=GGO,2=C", "merge"), ("7=lesion", "merge"), ("1=GGO,2=scar", "")]
)
def test_classes_other_than_the_papers_are_kept_by_default(text, mask_type):
    assert default_mask_type(MaskValues.parse(text)) == mask_type


def test_a_rule_that_cannot_be_is_no_fault_of_the_pairs(tmp_path):
    with pytest.raises(ValueError, match="asks for the class 'scar'"):
        coco_from_pairs([], tmp_path, CNCB, "scar", errors=collecting())


@pytest.fixture
def folders(tmp_path, mask):
    """image/{p1,p2,p3}/{1,2}.png with masks; the second slice of each is lesion-free."""
    for patient in ("p1", "p2", "p3"):
        for kind in ("image", "mask"):
            (tmp_path / kind / patient).mkdir(parents=True)
        for number, pixels in (("1", mask), ("2", (mask > 0).astype(np.uint8))):
            Image.fromarray(pixels).save(tmp_path / "mask" / patient / f"{number}.png")
            Image.fromarray(pixels * 60).save(tmp_path / "image" / patient / f"{number}.jpg")
    return tmp_path / "image", tmp_path / "mask"


def test_nested_folders(folders, tmp_path):
    coco = coco_from_pairs(pair_files(*folders), tmp_path / "json", CNCB, "both")
    assert [image["file_name"] for image in coco["images"]][:2] == [
        "../image/p1/1.jpg",
        "../image/p1/2.jpg",
    ]
    assert [image["id"] for image in coco["images"]] == [1, 2, 3, 4, 5, 6]
    assert {(image["height"], image["width"]) for image in coco["images"]} == {(40, 60)}
    assert coco["images"][4]["patient"] == "p3"
    # GGO is 90 px and the inner consolidation 30: only the one of 120 px is above 100.
    assert [(a["id"], a["image_id"], a["category_id"]) for a in coco["annotations"]] == [
        (1, 1, 2),
        (2, 3, 2),
        (3, 5, 2),
    ]
    assert coco["categories"] == [{"id": 1, "name": "GGO"}, {"id": 2, "name": "C"}]
    assert describe_coco(coco).split("\n") == [
        "6 images, 3 lesion-free",
        "  GGO: 0 instances",
        "    C: 3 instances, area quartiles 120, 120, 120 px",
    ]


def test_one_image_and_a_long_name_in_words():
    lesion = {"image_id": 1, "category_id": 2, "area": 9}
    categories = [{"id": 1, "name": "GGO"}, {"id": 2, "name": "pleural effusion"}]
    coco = {"images": [{"id": 1}], "annotations": [lesion], "categories": categories}
    assert describe_coco(coco).split("\n") == [
        "1 image, 0 lesion-free",
        "               GGO: 0 instances",
        "  pleural effusion: 1 instance, area quartiles 9, 9, 9 px",
    ]


def test_pairs_carry_extra_keys(folders, tmp_path):
    images, masks = folders
    pair = (images / "p1/1.jpg", masks / "p1/1.png", {"patient": "x", "scan": "x_1"})
    coco = coco_from_pairs([pair], images, CNCB, "merge")
    assert coco["images"] == [
        {
            "id": 1,
            "file_name": "p1/1.jpg",
            "height": 40,
            "width": 60,
            "patient": "x",
            "scan": "x_1",
        }
    ]


def test_paths_behind_a_link(folders, tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "link").symlink_to(deep)
    root = tmp_path / "link"
    coco = coco_from_pairs(pair_files(*folders), root, CNCB, "merge")
    assert (root / coco["images"][0]["file_name"]).is_file()


def test_folder_errors(folders, tmp_path, mask):
    images, masks = folders

    def run():
        coco_from_pairs(pair_files(images, masks), tmp_path, CNCB, "merge")

    Image.fromarray(mask[:-1]).save(masks / "p1" / "1.png")
    with pytest.raises(ValueError, match=r"p1/1\.png: found .*60 x 39.*expected 60 x 40.*1\.jpg"):
        run()
    Image.fromarray(mask * 9).save(masks / "p1" / "1.png")
    with pytest.raises(ValueError, match=r"p1/1\.png: found the unknown value\(s\) 9, 18, 27"):
        run()
    (masks / "p1" / "1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"p1/1\.jpg: no mask in .*; 1 of 6"):
        run()
    (images / "p1" / "1.jpg").unlink()
    (images / "p2" / "2.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"p2/2\.png: no image in .*; 1 of 5"):
        run()
    shutil.copy(images / "p1" / "2.jpg", images / "p1" / "2.jpeg")
    with pytest.raises(ValueError, match="has the same name"):
        run()
    (tmp_path / "empty").mkdir()
    for folder, found in ((tmp_path / "empty", "no image files"), (tmp_path / "x", "no such")):
        with pytest.raises(FileNotFoundError, match=found):
            coco_from_pairs(pair_files(folder, masks), tmp_path, CNCB, "merge")


def test_skipped_pairs(folders, tmp_path):
    images, masks = folders
    (images / "p1" / "1.jpg").write_bytes(b"<!DOCTYPE html><html></html>")
    Image.fromarray(np.full((40, 60), 9, np.uint8)).save(masks / "p1" / "2.png")
    whole = (images / "p2" / "1.jpg").read_bytes()
    (images / "p2" / "1.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "p2" / "2.jpg").unlink()
    errors = collecting()
    pairs = pair_files(images, masks, errors)
    coco = coco_from_pairs(pairs, tmp_path, CNCB, "merge", whole_images=True, errors=errors)
    assert [image["file_name"] for image in coco["images"]] == ["image/p3/1.jpg", "image/p3/2.jpg"]
    assert [image["id"] for image in coco["images"]] == [1, 2]
    assert {item["image_id"] for item in coco["annotations"]} == {1}
    for line, name in zip(
        errors.messages, ("p2/2.png", "p1/1.jpg", "p1/2.png", "p2/1.jpg"), strict=True
    ):
        assert name in line
    assert "unknown value(s) 9" in errors.messages[2]
    with pytest.raises(ValueError, match="no usable slice"):
        coco_from_pairs(pairs[:1], tmp_path, CNCB, "merge", errors=collecting())


def test_write_leaves_nothing_behind(tmp_path):
    with pytest.raises(TypeError):
        write_coco({"images": object()}, tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []
    write_coco({"images": []}, tmp_path / "new" / "a.json")
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {"images": []}
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_command(folders, tmp_path, command):
    def run(*args):
        return command("prepare", "masks", *folders, *args)

    _, printed, _ = run(tmp_path / "a.json", "--val-fraction", "0.4")
    assert "2 GGO" in printed
    assert "4 images, 2 lesion-free" in printed
    assert {path.name for path in tmp_path.glob("*.json")} == {"a_train.json", "a_val.json"}
    code, _, error = run(tmp_path / "b.json", "--values", "1=GGO,2=C")
    assert code == 2
    assert error.startswith(f"error: {folders[1]}/p1/1.png: found the unknown")
    assert not (tmp_path / "b.json").exists()
    own = ("--values", "1=lung edge,2=nodule,3=cavity", "--min-area", "0")
    _, printed, _ = run(tmp_path / "own.json", *own)
    assert "lung edge" in printed
    names = [x["name"] for x in json.loads((tmp_path / "own.json").read_text())["categories"]]
    assert names == ["lung edge", "nodule", "cavity"]
    (folders[0] / "p1" / "1.jpg").write_bytes(b"")
    _, printed, _ = run(tmp_path / "c.json", "--skip-bad")
    assert "5 images, 3 lesion-free" in printed
    assert printed.rstrip().split("\n")[-2:][0] == "skipped 1:"
    assert "p1/1.jpg" in printed.rstrip().split("\n")[-1]
