import csv

import numpy as np
import pytest

from ctmasknet.evaluation.metric_names import any_lesion
from ctmasknet.evaluation.pixel_metrics import PixelStatistic, write_per_image

PIXELS = 48 * 64


@pytest.fixture
def hand_made(lesion_set):
    """True, predicted and overlap: 100, 150, 50; 0, 40, 0; 60, 0, 0; nothing."""
    lesions = [(1, 0, 0, 0, 10, 10), (3, 0, 0, 0, 10, 6)]
    found = [
        (1, 0, 0.9, 0, 5, 10, 10),  # the two overlap by half
        (1, 0, 0.5, 0, 10, 10, 10),
        (1, 0, 0.4, 0, 0, 10, 10),  # below the threshold
        (2, 0, 0.9, 0, 0, 8, 5),
    ]
    return lesion_set(lesions, found, images=4)


def test_metrics_worked_by_hand(hand_made):
    statistic = PixelStatistic(hand_made)
    assert statistic.areas["lesion"].T.tolist() == [[100, 150, 50], [0, 40, 0], [60, 0, 0], [0] * 3]
    found = {name: value[0] for name, value in statistic(np.ones((1, 4))).items()}
    errors = np.array([50, 40, -60]) / PIXELS
    bias, deviation = errors.mean(), errors.std(ddof=1)
    assert found == pytest.approx(
        {
            "dice_lesion": (100 / 250 + 0 + 0) / 3,
            "dice_present_lesion": (100 / 250 + 0) / 2,
            "dice_all_lesion": (100 / 250 + 0 + 0 + 1) / 4,
            "iou_lesion": (50 / 200 + 0 + 0) / 3,
            "precision_lesion": (50 / 150 + 0) / 2,
            "recall_lesion": (50 / 100 + 0) / 2,
            "pooled_dice_lesion": 100 / 350,
            "pooled_iou_lesion": 50 / 300,
            "pooled_precision_lesion": 50 / 190,
            "pooled_recall_lesion": 50 / 160,
            "area_bias_lesion": bias,
            "area_mae_lesion": 150 / 3 / PIXELS,
            "area_bias_px_lesion": 10,
            "area_mae_px_lesion": 50,
            "area_loa_low_lesion": bias - 1.96 * deviation,
            "area_loa_high_lesion": bias + 1.96 * deviation,
        }
    )
    assert statistic.metrics() == found | {"images_empty_lesion": 1}
    assert statistic.not_empty("lesion").tolist() == [True, True, True, False]


def test_the_score_threshold_is_inclusive(hand_made):
    assert PixelStatistic(hand_made, 0.51).areas["lesion"][1].tolist() == [100, 40, 0, 0]
    assert PixelStatistic(hand_made, 0.4).areas["lesion"][1].tolist() == [200, 40, 0, 0]


def test_each_image_may_have_its_own_threshold(hand_made):
    own = PixelStatistic(hand_made, np.array([0.4, 0.95, 0.5, 0.5]))
    assert own.areas["lesion"][1].tolist() == [200, 0, 0, 0]


def test_weights_are_copies_of_images(hand_made, lesion_set):
    found = PixelStatistic(hand_made)(np.array([[2.0, 0, 1, 1]]))
    lesions = [(i, 0, 0, 0, 10, 10) for i in (1, 2)] + [(3, 0, 0, 0, 10, 6)]
    detections = [(i, 0, 0.9, 0, 5, 10, 15) for i in (1, 2)]
    copied = lesion_set(lesions, detections, images=4)
    expected = PixelStatistic(copied)(np.ones((1, 4)))
    assert {k: v[0] for k, v in found.items()} == pytest.approx(
        {k: v[0] for k, v in expected.items()}
    )


def test_classes_apart_and_together(lesion_set):
    # The right place with the wrong class.
    made = lesion_set([(1, 0, 0, 0, 5, 5)], [(1, 1, 0.9, 0, 0, 5, 5)], classes=("GGO", "C"))
    found = PixelStatistic(made)(np.ones((1, 1)))
    assert found["dice_lesion"] == 1 and found["dice_GGO"] == found["dice_C"] == 0
    assert np.isnan(found["precision_GGO"]) and np.isnan(found["recall_C"])
    assert found["area_bias_C"] == -found["area_bias_GGO"] == 25 / PIXELS
    # One image has no standard deviation.
    assert np.isnan(found["area_loa_low_GGO"]) and np.isnan(found["area_loa_high_C"])


def test_one_image_with_lesions_among_empty_ones_has_no_limits(lesion_set):
    made = lesion_set([(2, 0, 0, 0, 5, 5)], images=5)
    found = {k: v[0] for k, v in PixelStatistic(made)(np.ones((1, 5))).items()}
    assert found["area_bias_px_lesion"] == -25 and found["area_mae_lesion"] == 25 / PIXELS
    assert np.isnan(found["area_loa_low_lesion"]) and np.isnan(found["area_loa_high_lesion"])


def test_a_single_class_is_called_lesion(lesion_set):
    assert list(PixelStatistic(lesion_set(classes=("GGO",))).areas) == ["lesion"]


def test_crowds_are_no_lesions(lesion_set):
    assert PixelStatistic(lesion_set(crowds=[(1, 0, 0, 0, 5, 5)])).areas["lesion"][0] == [0]


def test_nothing_anywhere(lesion_set):
    statistic = PixelStatistic(lesion_set(images=2))
    found = {name: value[0] for name, value in statistic(np.ones((1, 2))).items()}
    assert found.pop("dice_all_lesion") == 1
    assert np.isnan(list(found.values())).all()
    assert statistic.metrics()["images_empty_lesion"] == 2


def test_a_line_for_each_image(hand_made, tmp_path):
    ap = {"AP50": np.array([1, 0.5, 0, np.nan])}
    write_per_image(tmp_path / "new" / "a.csv", hand_made, PixelStatistic(hand_made), ap)
    with (tmp_path / "new" / "a.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0] == {
        **{"image_id": "1", "file_name": "0001.png", "patient": "", "scan": "", "AP50": "1.0"},
        **{"true_px_lesion": "100", "predicted_px_lesion": "150", "overlap_px_lesion": "50"},
    }
    assert [row["AP50"] for row in rows] == ["1.0", "0.5", "0.0", "nan"]


@pytest.mark.parametrize(
    ("classes", "name"),
    [
        (["lesion"], "lesion"),
        (["GGO"], "lesion"),
        (["GGO", "C"], "lesion"),
        (["lesion", "C"], "any"),
    ],
)
def test_metrics_of_any_class_have_a_name_of_their_own(classes, name):
    assert any_lesion(classes) == name


def test_a_class_may_be_called_lesion(lesion_set):
    lesions = lesion_set([(1, 0, 0, 0, 10, 10), (1, 1, 20, 0, 10, 10)], classes=("lesion", "scar"))
    pixels = PixelStatistic(lesions)
    assert {k: v[0].tolist() for k, v in pixels.areas.items()} == {
        "any": [200],
        "lesion": [100],
        "scar": [100],
    }
