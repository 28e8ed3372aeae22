import json

import numpy as np
import pycocotools.mask as mask_util
import pytest

from ctmasknet.data import coco_lesions
from ctmasknet.data.coco_lesions import read_coco_lesions
from ctmasknet.errors import collecting

HEIGHT, WIDTH = 20, 30


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(coco_lesions, "_said", set())


def lesion(number, x, y, width, height, **keys):
    """A rectangle in image 1 as RLE; a key of None is left out."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    entry = {
        "id": number,
        "image_id": 1,
        "category_id": 1,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
        "segmentation": {
            "size": [HEIGHT, WIDTH],
            "counts": mask_util.encode(mask)["counts"].decode(),
        },
        **keys,
    }
    return {key: value for key, value in entry.items() if value is not None}


@pytest.fixture
def write(tmp_path):
    def write(*lesions, encoding="utf-8", **keys):
        content = {
            "images": [
                {"id": k, "file_name": f"{k}.png", "height": HEIGHT, "width": WIDTH} for k in (1, 2)
            ],
            "categories": [{"id": 1, "name": "GGO"}, {"id": 4, "name": "C"}],
            "annotations": list(lesions),
            **keys,
        }
        path = tmp_path / "lesions.json"
        path.write_text(json.dumps(content), encoding=encoding)
        return path

    return write


def test_a_good_file_stays_as_it_is(write, caplog):
    polygon = [[1, 2, 9, 2, 9, 8, 1, 8]]
    lesions = [lesion(7, 3, 4, 5, 6, note="x"), lesion(2, 1, 2, 8, 6, segmentation=polygon)]
    read = read_coco_lesions(write(*lesions, info={"year": 2020}))
    assert read.coco["annotations"] == lesions and read.coco["info"] == {"year": 2020}
    assert read.repairs == () and caplog.text == ""
    assert [mask_util.area(mask) for mask in read.masks] == [30, 48]


def test_what_lacks_is_made_from_the_mask_and_said_once(write, caplog):
    path = write(lesion(None, 3, 4, 5, 6, bbox=None, area=None, iscrowd=None))
    for _ in range(2):
        (made,), _, repairs = _annotations(path)
        assert (made["id"], made["bbox"], made["area"]) == (1, [3, 4, 5, 6], 30)
        assert made["iscrowd"] == 0 and len(repairs) == 3
    assert caplog.text.count("lesions.json: read with repairs: 1 missing bbox made from") == 1


def _annotations(path):
    read = read_coco_lesions(path)
    return read.coco["annotations"], read.masks, read.repairs


@pytest.mark.parametrize("ids", [(0, 1), (5, 5), ("a", "b"), (None, 3), (-1, 1), (True, 2)])
def test_ids_that_pycocotools_takes_wrongly_are_numbered_anew(write, ids):
    lesions = [lesion(number, 3 * k, 4, 2, 6) for k, number in enumerate(ids)]
    read = read_coco_lesions(write(*lesions))
    assert [x["id"] for x in read.coco["annotations"]] == [1, 2]
    assert [x["bbox"][0] for x in read.coco["annotations"]] == [0, 3]
    assert "numbered anew" in read.repairs[0]


def test_boxes_that_are_not_the_masks_are_made_anew(write):
    corners, near = [3, 4, 13, 12], [1.5, 4, 11, 9]
    lesions = [lesion(1, 3, 4, 10, 8, bbox=corners), lesion(2, 2, 4, 10, 8, bbox=near)]
    read = read_coco_lesions(write(*lesions))
    assert [x["bbox"] for x in read.coco["annotations"]] == [[3, 4, 10, 8], near]
    assert "1 bbox other than the mask's made from the mask" in read.repairs[0]
    assert "as if boxes were corners" in read.repairs[0]


def test_null_stands_for_what_lacks(write):
    nulls = dict.fromkeys(("id", "bbox", "area", "iscrowd"))
    entry = {**lesion(1, 3, 4, 10, 8), **nulls}
    (read,) = read_coco_lesions(write(entry)).coco["annotations"]
    assert (read["id"], read["bbox"], read["area"], read["iscrowd"]) == (1, [3, 4, 10, 8], 80, 0)


def test_boxes_that_are_empty_or_none(write):
    (read,) = read_coco_lesions(write(lesion(1, 3, 4, 10, 8, bbox=[]))).coco["annotations"]
    assert read["bbox"] == [3, 4, 10, 8]
    for box in (0, False, "", {}):
        with pytest.raises(ValueError, match=r"lesions\.json, annotation 0: "):
            read_coco_lesions(write(lesion(1, 3, 4, 10, 8, bbox=box)))


def test_a_lesion_that_is_there_twice_is_taken_once(write):
    same = [lesion(k, 3, 4, 5, 6) for k in (1, 2)]
    others = [lesion(3, 3, 4, 5, 6, category_id=4), lesion(4, 3, 4, 5, 6, image_id=2)]
    read = read_coco_lesions(write(*same, *others))
    assert [x["id"] for x in read.coco["annotations"]] == [1, 3, 4] and len(read.masks) == 3
    assert read.repairs == ("1 lesion that is there twice taken once",)


def test_a_byte_order_mark_is_read(write):
    read = read_coco_lesions(write(lesion(1, 3, 4, 5, 6), encoding="utf-8-sig"))
    assert len(read.masks) == 1 and "byte-order mark" in read.repairs[0]


def test_images_whose_ids_collide_are_refused(write):
    """Two files put together: each image would get the lesions of both."""
    images = [{"id": 1, "file_name": f"{x}.png", "height": 20, "width": 30} for x in "ab"]
    with pytest.raises(ValueError, match=r"lesions\.json, image 1: id 1 is there twice.*image 0"):
        read_coco_lesions(write(lesion(1, 3, 4, 5, 6), images=images))


def test_ids_of_another_type_are_refused(write):
    with pytest.raises(
        ValueError,
        match=r"annotation 0: unknown image_id '1', .* where it is 1: .*\(its id is 9\)",
    ):
        read_coco_lesions(write(lesion(9, 3, 4, 5, 6, image_id="1")))
    for key in ("image_id", "category_id"):
        with pytest.raises(ValueError, match=f"unknown {key} 1.0"):
            read_coco_lesions(write(lesion(9, 3, 4, 5, 6, **{key: 1.0})))


def test_crowds_are_said(write, caplog):
    crowd = lesion(2, 3, 4, 5, 6, iscrowd=1)
    assert len(read_coco_lesions(write(lesion(1, 9, 9, 2, 2), crowd)).masks) == 2
    assert "1 of 2 lesions marked as crowds (iscrowd 1), which are no lesions" in caplog.text
    errors = collecting()
    read_coco_lesions(write(crowd), errors)
    assert "1 of 1 lesion marked as crowds" in errors.first


RUNS = [4 * HEIGHT + 3, 5, HEIGHT * WIDTH - 4 * HEIGHT - 8]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (None, "no segmentation, expected polygons or RLE"),
        ([], "no segmentation"),
        ({"size": [HEIGHT, WIDTH], "counts": [*RUNS[:-1], RUNS[-1] + 500]}, "not a usable RLE"),
        ({"size": [HEIGHT, WIDTH], "counts": RUNS[:-1]}, "not a usable RLE"),
        ({"size": [HEIGHT, WIDTH], "counts": "S75i0"}, "not a usable RLE"),
        ({"size": [-1, WIDTH], "counts": RUNS}, r"a mask of size \[-1, 30\]"),
        ({"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}, "without any pixel"),
        ([[2**31, 1, 5, 5, 1, 9]], "a polygon with 2147483648, expected numbers within -30 to 60"),
        ([[float("nan"), 1, 5, 5, 1, 9]], "a polygon with nan"),
        ([[1, 1, 5, 5, 1]], "5 numbers, expected pairs"),
        ([[-9, -9, -5, -9, -5, -5]], "without any pixel"),
    ],
)
def test_masks_that_cannot_be_used_are_refused_or_set_aside(write, mask, message):
    path = write(lesion(1, 9, 9, 2, 2), lesion(8, 3, 4, 5, 6, segmentation=mask))
    with pytest.raises(ValueError, match=rf"lesions\.json, annotation 1: .*{message}.*id is 8"):
        read_coco_lesions(path)
    errors = collecting()
    read = read_coco_lesions(path, errors)
    assert [x["id"] for x in read.coco["annotations"]] == [1] and len(read.masks) == 1
    assert len(errors.messages) == 1


@pytest.mark.parametrize("side", [-1, 0, 2**31, 1.5, "20", None, True])
def test_sizes_of_images(write, side):
    with pytest.raises(ValueError, match="image 0: height is"):
        read_coco_lesions(
            write(images=[{"id": 1, "file_name": "a", "height": side, "width": 2**31 - 1}])
        )


def test_many_lesions_are_read_as_each_alone(write):
    rng = np.random.default_rng(0)
    masks = np.kron(rng.random((300, 5, 6)) < 0.3, np.ones((4, 5), bool))
    masks[:, 0, 0] = True
    rles = [mask_util.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]
    forms = [{"size": [HEIGHT, WIDTH], "counts": x["counts"].decode()} for x in rles]
    path = write(
        *(lesion(k, 0, 0, 1, 1, segmentation=x, bbox=None) for k, x in enumerate(forms, 1))
    )
    read = read_coco_lesions(path)
    assert read.masks == forms
    boxes = [mask_util.toBbox(rle).tolist() for rle in rles]
    assert [x["bbox"] for x in read.coco["annotations"]] == boxes
