import numpy as np
import pycocotools.mask as mask_util
import pytest
from PIL import Image

from ctmasknet import get_cfg
from ctmasknet.data.augment import RandomNoise, build_intensity_and_shape
from ctmasknet.data.mapper import SliceMapper


def cfg_with(**keys):
    cfg = get_cfg()
    cfg.merge_from_list([x for key, v in keys.items() for x in (f"INPUT.AUGMENT.{key}", v)])
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.RANDOM_FLIP = (100,), "none"
    cfg.INPUT.MASK_FORMAT, cfg.MODEL.MASK_ON = "bitmask", True
    return cfg


@pytest.fixture
def record(tmp_path):
    """A grey slice whose one lesion, a long rectangle, is white."""
    lesion = np.zeros((100, 120), np.uint8)
    lesion[45:55, 20:100] = 1
    Image.fromarray(40 + 160 * lesion).save(tmp_path / "a.png")
    rle = mask_util.encode(np.asfortranarray(lesion))
    box = {"bbox": [20, 45, 80, 10], "bbox_mode": 1, "category_id": 0, "segmentation": rle}
    return {"file_name": str(tmp_path / "a.png"), "image_id": 1, "annotations": [box]}


def test_by_default_there_is_none_and_boxes_stay_as_they_were():
    assert build_intensity_and_shape(get_cfg()) == []
    assert not SliceMapper(cfg_with(), True).recompute_boxes


@pytest.mark.parametrize("keys", [{"ROTATION": 40.0}, {"SCALE": 0.3, "SHIFT": 0.2}])
def test_masks_follow_the_pixels_and_boxes_the_masks(record, keys):
    np.random.seed(0)
    mapped = SliceMapper(cfg_with(**keys), True)(record)
    grey, instances = mapped["image"][0].numpy(), mapped["instances"]
    mask = instances.gt_masks.tensor[0].numpy()
    assert mask.sum() > 300 and (grey[mask] > 100).mean() > 0.95
    assert (grey[~mask] < 140).mean() > 0.98
    rows, columns = np.nonzero(mask)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert instances.gt_boxes.tensor[0].tolist() == box


def test_grey_values_change_and_shapes_do_not(record):
    plain = SliceMapper(cfg_with(), True)(record)
    np.random.seed(1)
    keys = {"BRIGHTNESS": 0.3, "CONTRAST": 0.3, "NOISE": 20.0}
    other = SliceMapper(cfg_with(**keys), True)(record)
    assert (other["image"] != plain["image"]).float().mean() > 0.5
    assert (other["image"][0] == other["image"][2]).all()  # still grey
    assert (other["instances"].gt_masks.tensor == plain["instances"].gt_masks.tensor).all()


def test_evaluation_is_left_alone(record):
    mapper = SliceMapper(cfg_with(ROTATION=40.0, NOISE=20.0), False)
    assert (mapper(record)["image"] == mapper(record)["image"]).all()


def test_noise_has_the_deviation_asked_for():
    np.random.seed(0)
    image = np.full((200, 200, 3), 128, np.uint8)
    found = [RandomNoise(10.0).get_transform(image).apply_image(image).std() for _ in range(20)]
    assert 0 <= min(found) < 3 and 7 < max(found) < 10.5


@pytest.mark.parametrize(
    ("keys", "reason"),
    [({"SCALE": 1.0}, "SCALE is 1.0"), ({"CONTRAST": -0.1}, "CONTRAST"), ({"NOISE": -1.0}, "0 or")],
)
def test_keys_out_of_range(keys, reason):
    with pytest.raises(ValueError, match=reason):
        build_intensity_and_shape(cfg_with(**keys))
