"""Predictor with a field of view: the network sees a part, results are of the whole slice."""

from pathlib import Path

import numpy as np
import pytest

import ctmasknet
from ctmasknet.data.window import LUNG
from ctmasknet.volumes.volume import upright_volume

pytestmark = pytest.mark.slow  # whole networks

LUNG_FIELD = ("INPUT.FIELD_OF_VIEW", "lung")


def chest(lungs=(60, 140)):
    """HU of 200 x 200, of a body with lungs at these columns, with some texture."""
    ys, xs = np.ogrid[:200, :200]
    hu = np.full((200, 200), -1000.0)
    hu[((xs - 100) / 80) ** 2 + ((ys - 95) / 60) ** 2 <= 1] = 40
    noise = np.random.default_rng(0).normal(0, 60, (200, 200))
    for x in lungs:
        inside = ((xs - x) / 22) ** 2 + ((ys - 95) / 42) ** 2 <= 1
        hu[inside] = -800 + noise[inside]
    return hu.astype(np.int16)


def scan(*slices):
    return upright_volume(
        np.stack(slices), (5.0, 2.0, 2.0), (0, 0, 0), np.eye(3), Path("scan.nii.gz")
    )


def grey(hu):
    return np.repeat(LUNG.to_uint8(hu)[..., None], 3, axis=-1)


@pytest.fixture(scope="module")
def whole(runs):
    return ctmasknet.Predictor(runs.ctmasknet, lesion_model=runs.lesion, min_score=0.3)


@pytest.fixture(scope="module")
def lungs(runs):
    """Both models see the lung."""
    return ctmasknet.Predictor(
        runs.ctmasknet, lesion_model=runs.lesion, min_score=0.3, field_of_view="lung"
    )


@pytest.fixture(scope="module")
def found(lungs):
    return lungs.predict(chest())


def test_it_is_what_the_part_alone_would_give_moved_to_its_place(whole, found):
    x0, y0, x1, y1 = found.field
    assert (x0, y0, x1, y1) == pytest.approx((33, 48, 168, 143), abs=2)
    part = whole.predict(grey(chest()[y0:y1, x0:x1]))
    assert found.size == (200, 200) and found.instances
    for own, other in zip(found.instances, part.instances, strict=True):
        np.testing.assert_allclose(own.box, np.add(other.box, (x0, y0, x0, y0)), atol=1e-3)
        assert own.mask.shape == (200, 200) and own.area_px == other.area_px
        assert (own.mask[y0:y1, x0:x1] == other.mask).all()
    logits = part.classification.logits
    np.testing.assert_allclose(found.classification.logits, logits, atol=1e-4)
    boxes = part.ranked_boxes.boxes + np.array([x0, y0, x0, y0])
    np.testing.assert_allclose(found.ranked_boxes.boxes, boxes, atol=1e-3)


def test_the_score_map_lies_where_the_masks_are(lungs, found):
    scores = lungs.score_map(grey(chest()), found.field)
    x0, y0, x1, y1 = found.field
    outside = np.ones((200, 200), bool)
    outside[y0:y1, x0:x1] = False
    assert scores.shape == (200, 200) and np.isnan(scores[outside]).all()
    masks = np.any([x.mask for x in found.instances], axis=0)
    assert ((scores >= 0.5) == masks).mean() > 0.999


def test_a_key_of_the_config_and_what_results_say(runs, found):
    predictor = ctmasknet.Predictor(runs.lesion, min_score=0.3, opts=LUNG_FIELD)
    assert predictor.predict(chest()).field == found.field
    assert predictor.describe()["settings"]["field_of_view"] == "lung"


def test_a_scan_has_one_field_and_slices_without_lung_are_not_searched(lungs, whole):
    solid, one_lung = chest(()), chest((60,))
    prediction = lungs.predict(scan(solid, chest(), one_lung, chest()))
    assert [x.searched for x in prediction.slices] == [False, True, True, True]
    assert len({x.field for x in prediction.slices[1:]}) == 1
    first = prediction.slices[0]
    assert not first.instances and first.classification is None and first.ranked_boxes is None
    probabilities = prediction.probabilities
    assert np.isnan(probabilities[0]).all() and probabilities.shape == (4, 3)
    mean = probabilities[1:].mean(axis=0)
    np.testing.assert_allclose(prediction.classification.probabilities, mean / mean.sum())
    # A model that sees all needs no lung.
    assert all(x.searched for x in whole.predict(scan(solid, chest())).slices)


def test_a_scan_without_any_lung_is_searched_as_it_is(lungs):
    prediction = lungs.predict(scan(chest(()), chest(())))
    assert all(x.searched and x.field is None for x in prediction.slices)
