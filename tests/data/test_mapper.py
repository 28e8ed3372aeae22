"""The mapper: squash or shortest edge, keys that pass through, files that must not."""

import numpy as np
import pycocotools.mask as mask_util
import pytest
from PIL import Image

from ctmasknet import get_cfg
from ctmasknet.data.mapper import SliceMapper
from ctmasknet.data.window import LUNG, Window


def encode(mask):
    return mask_util.encode(np.asfortranarray(mask))


@pytest.fixture
def cfg():
    cfg = get_cfg()
    cfg.INPUT.MIN_SIZE_TRAIN = (64,)
    cfg.INPUT.MIN_SIZE_TEST = 64
    cfg.INPUT.RANDOM_FLIP = "none"
    return cfg


@pytest.fixture
def record(tmp_path):
    path = tmp_path / "slice.png"
    noise = np.random.default_rng(0).integers(0, 255, (100, 200), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return {"file_name": str(path), "image_id": "slice", "label": 2, "patient": "p", "scan": "s"}


@pytest.mark.parametrize(
    ("squash", "is_train", "shape"),
    [
        (False, True, (3, 64, 128)),
        (False, False, (3, 64, 128)),
        (True, True, (3, 64, 64)),
        (True, False, (3, 64, 128)),
    ],
)
def test_size(cfg, record, squash, is_train, shape):
    cfg.INPUT.SQUASH = squash
    mapped = SliceMapper(cfg, is_train)(record)
    assert tuple(mapped["image"].shape) == shape
    assert {key: mapped[key] for key in record} == record
    assert "image" not in record


def test_squash_scales_boxes_by_axis(cfg, record):
    cfg.INPUT.SQUASH = True
    box = {"bbox": [100, 50, 50, 25], "bbox_mode": 1, "category_id": 0}
    mapped = SliceMapper(cfg, True)({**record, "annotations": [box]})
    expected = np.array([[100 * 0.32, 50 * 0.64, 150 * 0.32, 75 * 0.64]])
    assert np.allclose(mapped["instances"].gt_boxes.tensor.numpy(), expected)


def test_lesion_free_slice_has_zero_instances(cfg, record):
    assert len(SliceMapper(cfg, True)({**record, "annotations": []})["instances"]) == 0


def test_16_bit_is_refused(cfg, record):
    Image.fromarray(np.full((100, 200), 1000, np.uint16)).save(record["file_name"])
    with pytest.raises(ValueError, match=r"slice\.png: found a 16-bit image"):
        SliceMapper(cfg, False)(record)


def test_damaged_file_is_named(cfg, record, tmp_path):
    path = tmp_path / "slice.png"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"slice\.png: cannot be read as an image"):
        SliceMapper(cfg, False)(record)
    with pytest.raises(FileNotFoundError, match=r"gone\.png: no such file"):
        SliceMapper(cfg, False)({**record, "file_name": str(tmp_path / "gone.png")})


def chest(tmp_path, window=LUNG):
    """A slice of 200 x 200 whose lungs span x 38 to 162 and y 53 to 137."""
    hu = np.full((200, 200), -1000)
    ys, xs = np.ogrid[:200, :200]
    hu[((xs - 100) / 80) ** 2 + ((ys - 95) / 60) ** 2 <= 1] = 40
    for x in (60, 140):
        hu[((xs - x) / 22) ** 2 + ((ys - 95) / 42) ** 2 <= 1] = -850
    path = tmp_path / "chest.png"
    Image.fromarray(window.to_uint8(hu)).save(path)
    return {"file_name": str(path), "image_id": 1}


@pytest.mark.parametrize("is_train", [True, False])
def test_the_field_of_view_is_cropped_before_anything_else(cfg, tmp_path, is_train):
    record = chest(tmp_path)
    cfg.INPUT.FIELD_OF_VIEW = "lung"
    cfg.INPUT.FIELD_MARGIN = 0.0
    mapped = SliceMapper(cfg, is_train)(record)
    assert mapped["field"] == pytest.approx((38, 53, 163, 138), abs=1)
    x0, y0, x1, y1 = mapped["field"]
    assert tuple(mapped["image"].shape) == (3, 64, round(64 * (x1 - x0) / (y1 - y0)))
    assert (mapped["height"], mapped["width"]) == (200, 200)


def test_lesions_move_with_the_field_and_those_outside_are_left_out(cfg, tmp_path):
    record = chest(tmp_path)
    cfg.MODEL.MASK_ON = True
    cfg.INPUT.MASK_FORMAT = "bitmask"
    cfg.INPUT.FIELD_OF_VIEW = "lung"
    cfg.INPUT.FIELD_MARGIN = 0.0
    cfg.INPUT.MIN_SIZE_TRAIN = (85,)  # as it is
    masks = np.zeros((2, 200, 200), np.uint8)
    masks[0, 80:90, 50:70] = masks[1, 150:160, 50:70] = 1
    boxes = ([50, 80, 20, 10], [50, 150, 20, 10])
    record["annotations"] = [
        {"bbox": box, "bbox_mode": 1, "category_id": 0, "segmentation": encode(mask)}
        for box, mask in zip(boxes, masks, strict=True)
    ]
    mapped = SliceMapper(cfg, True)(record)
    x0, y0 = mapped["field"][:2]
    (box,) = mapped["instances"].gt_boxes.tensor.tolist()
    assert box == pytest.approx([50 - x0, 80 - y0, 70 - x0, 90 - y0], abs=1)


def test_the_lung_is_looked_for_in_the_window_of_the_slices(cfg, tmp_path):
    record = chest(tmp_path, Window(1400, -420))
    cfg.INPUT.FIELD_OF_VIEW = "lung"
    cfg.INPUT.FIELD_MARGIN = 0.0
    cfg.INPUT.WINDOW = (1400, -420)
    assert SliceMapper(cfg, False)(record)["field"] == pytest.approx((38, 53, 163, 138), abs=1)


def test_a_slice_without_lung_is_taken_whole(cfg, record):
    cfg.INPUT.FIELD_OF_VIEW = "lung"
    mapped = SliceMapper(cfg, False)(record)
    assert "field" not in mapped and tuple(mapped["image"].shape) == (3, 64, 128)
