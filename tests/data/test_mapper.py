"""The mapper: squash or shortest edge, keys that pass through, files that must not."""

import numpy as np
import pytest
from PIL import Image

from ctmasknet import get_cfg
from ctmasknet.data.mapper import SliceMapper


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
