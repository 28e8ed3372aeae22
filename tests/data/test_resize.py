"""Resizing as the author's code does it."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from ctmasknet import get_cfg
from ctmasknet.data.mapper import SliceMapper, build_test_resize


def resize(image, short=512, longest=1024, exact=True, pil=False):
    cfg = get_cfg()
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = short, longest
    cfg.INPUT.FLOAT_RESIZE, cfg.INPUT.PIL_RESIZE = exact, pil
    return build_test_resize(cfg).get_transform(image)


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((380, 500), (512, 673)),  # 673.7: Detectron2 rounds to 674
        ((500, 380), (673, 512)),
        ((512, 512), (512, 512)),
        ((100, 400), (256, 1024)),  # the long side decides
    ],
)
def test_sizes_are_rounded_down(size, expected):
    transform = resize(noise(*size))
    assert (transform.new_h, transform.new_w) == expected
    assert resize(noise(380, 500), exact=False).new_w == 674


def test_pixels_are_interpolated_as_floats():
    image = noise(48, 60)
    resized = resize(image, short=40, longest=100).apply_image(image)
    unit = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    expected = F.interpolate(unit.double(), (40, 50), mode="bilinear")[0] * 255
    assert resized.dtype == np.float64
    np.testing.assert_allclose(resized, expected.permute(1, 2, 0).numpy(), rtol=0, atol=1e-12)
    pillow = resize(image, short=40, longest=100, exact=False).apply_image(image)
    assert pillow.dtype == np.uint8 and np.abs(resized - pillow).max() > 5  # it smooths


def test_an_image_of_the_right_size_keeps_its_pixels():
    image = noise(512, 512)
    np.testing.assert_allclose(resize(image).apply_image(image), image, rtol=0, atol=2e-5)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("size", [(380, 500), (500, 380), (512, 512), (600, 512)])
def test_pillow_resizes_8_bit_pixels_before(size, exact):
    image = noise(*size)
    resized = resize(image, exact=exact, pil=True).apply_image(image)
    short = min(size)
    height, width = (512 * side // short for side in size)
    expected = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(resized, expected, rtol=0, atol=2e-5 * exact)


def test_what_is_still_too_long_is_resized_again():
    image = noise(100, 300)
    resized = resize(image, pil=True).apply_image(image)
    first = np.asarray(Image.fromarray(image).resize((1536, 512), Image.Resampling.BILINEAR))
    unit = torch.from_numpy(first.copy()).permute(2, 0, 1)[None].float() / 255
    expected = F.interpolate(unit.double(), (341, 1024), mode="bilinear")[0] * 255
    np.testing.assert_allclose(resized, expected.permute(1, 2, 0).numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("style", ["choice", "range"])
def test_training_draws_the_short_side_as_detectron2_does(style):
    cfg = get_cfg()
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING = (40, 60), style
    cfg.INPUT.FLOAT_RESIZE = True
    (resize, *_) = SliceMapper(cfg, is_train=True).augmentations.augs
    drawn = {resize.get_transform(noise(50, 50)).new_h for _ in range(100)}
    assert drawn == {40, 60} if style == "choice" else len(drawn) > 10
    assert min(drawn) >= 40 and max(drawn) <= 60


def test_zero_leaves_the_size_alone():
    image = noise(30, 40)
    for pil in (False, True):
        assert resize(image, short=0, pil=pil).apply_image(image).shape == (30, 40, 3)


def test_the_mapper_uses_pillow_first_at_inference_alone(tmp_path):
    Image.fromarray(noise(38, 50)).save(tmp_path / "slice.png")
    cfg = get_cfg()
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.RANDOM_FLIP = (51,), 51, "none"
    cfg.INPUT.FLOAT_RESIZE, cfg.INPUT.PIL_RESIZE = True, True
    record = {"file_name": str(tmp_path / "slice.png"), "image_id": 0, "annotations": []}
    trained, tested = (SliceMapper(cfg, x)(dict(record))["image"] for x in (True, False))
    assert trained.shape == tested.shape == (3, 51, 67)
    whole = [torch.isclose(x, x.round(), rtol=0, atol=1e-4).all() for x in (trained, tested)]
    assert whole == [False, True]


def test_the_mapper_uses_it_and_leaves_masks_alone(tmp_path):
    Image.fromarray(noise(38, 50)).save(tmp_path / "slice.png")
    cfg = get_cfg()
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MASK_FORMAT = (51,), "bitmask"
    cfg.INPUT.RANDOM_FLIP, cfg.INPUT.FLOAT_RESIZE, cfg.MODEL.MASK_ON = "none", True, True
    square = [[10, 10, 30, 10, 30, 30, 10, 30]]
    lesion = {"bbox": [10, 10, 20, 20], "bbox_mode": 1, "category_id": 0, "segmentation": square}
    record = {"file_name": str(tmp_path / "slice.png"), "annotations": [lesion]}
    mapped = SliceMapper(cfg, is_train=True)({**record, "image_id": 0})
    assert mapped["image"].dtype == torch.float64
    assert mapped["image"].shape == (3, 51, 67)
    masks = mapped["instances"].gt_masks.tensor
    assert masks.shape == (1, 51, 67) and masks.dtype == torch.bool
