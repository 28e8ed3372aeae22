import numpy as np
import pytest

from ctmasknet.evaluation.froc import RATES, FrocStatistic

HERE, THERE, NOWHERE = (0, 0, 10, 10), (20, 20, 10, 10), (40, 30, 10, 10)
ONES = np.ones((1, 4))


def values(statistic, weights=ONES, suffix=""):
    found = statistic(weights)
    return [found[f"sensitivity_{rate}_fp{suffix}"][0] for rate in RATES]


@pytest.fixture
def hand_made(lesion_set):
    """Four slices, four lesions; by score: hit, miss, hit, 2 misses and a hit at one score."""
    lesions = [(1, 0, *HERE), (1, 0, *THERE), (2, 0, *HERE), (3, 0, *HERE)]
    found = [
        (1, 0, 0.9, *HERE),
        (4, 0, 0.8, *HERE),
        (2, 0, 0.7, *HERE),
        (4, 0, 0.6, *THERE),
        (3, 0, 0.6, *HERE),
        (3, 0, 0.6, *NOWHERE),
    ]
    return lesion_set(lesions, found, images=4)


def test_sensitivities_worked_by_hand(hand_made):
    statistic = FrocStatistic(hand_made)
    # 1/8 allows no miss, 1/4 one; the last three go together and bring two more, so that they
    # do not fit 1/2; there are never more than three.
    assert values(statistic) == [1 / 4, 1 / 2, 1 / 2, 3 / 4, 3 / 4, 3 / 4, 3 / 4]
    assert statistic(ONES)["sensitivity_mean"] == pytest.approx(4.25 / 7)
    assert statistic.curves() == {"froc": [[0, 0], [0, 0.25], [0.25, 0.5], [0.75, 0.75]]}


def test_weights_are_copies_of_images(hand_made):
    # Without slice 4 there is one false positive in 4 slices, as slice 2 counts twice.
    weights = np.array([[1.0, 2, 1, 0]])
    assert values(FrocStatistic(hand_made), weights) == pytest.approx([3 / 5, *[4 / 5] * 6])
    # Only the slice without lesions.
    assert np.isnan(values(FrocStatistic(hand_made), np.array([[0.0, 0, 0, 2]]))).all()


def test_classes_apart_and_together(lesion_set):
    lesions = [(1, 0, *HERE), (2, 1, *HERE)]
    found = [(1, 0, 0.9, *HERE), (2, 0, 0.8, *HERE), (2, 1, 0.7, *HERE)]
    statistic = FrocStatistic(lesion_set(lesions, found, images=2, classes=("GGO", "C")))
    ones = np.ones((1, 2))
    assert values(statistic, ones) == [1 / 2, 1 / 2, 1, 1, 1, 1, 1]
    assert values(statistic, ones, "_GGO") == [1] * 7
    assert values(statistic, ones, "_C") == [1] * 7
    assert list(statistic.curves()) == ["froc", "froc_GGO", "froc_C"]
    # Without any lesion of C; all lesions together are no mean over classes.
    first = np.array([[2.0, 0]])
    assert values(statistic, first) == [1] * 7 and np.isnan(values(statistic, first, "_C")).all()


def test_the_overlap_that_finds_a_lesion(lesion_set):
    half = lesion_set([(1, 0, *HERE)], [(1, 0, 0.9, 0, 0, 20, 10)])
    ones = np.ones((1, 1))
    assert values(FrocStatistic(half), ones) == [1] * 7
    assert values(FrocStatistic(half, iou=0.51), ones) == [0] * 7


def test_detections_of_crowds_do_not_count(lesion_set):
    found = [(1, 0, 0.9, *THERE), (1, 0, 0.8, *HERE)]
    lesions = lesion_set([(1, 0, *HERE)], found, crowds=[(1, 0, *THERE)])
    assert values(FrocStatistic(lesions), np.ones((1, 1))) == [1] * 7


def test_nothing_to_find_and_nothing_found(lesion_set):
    ones = np.ones((1, 1))
    silent = FrocStatistic(lesion_set([(1, 0, *HERE)]))
    assert values(silent, ones) == [0] * 7 and silent.curves() == {"froc": [[0, 0]]}
    for detections in ([], [(1, 0, 0.9, *HERE)]):
        healthy = FrocStatistic(lesion_set(detections=detections))
        assert np.isnan(values(healthy, ones)).all() and healthy.curves() == {"froc": []}


def test_curves_are_thinned_from_end_to_end(lesion_set):
    lesions = [(i, 0, *HERE) for i in range(1, 301)]
    found = [(i, 0, 1 - i / 1000, *(HERE if i % 7 else THERE)) for i in range(1, 301)]
    (curve,) = FrocStatistic(lesion_set(lesions, found, images=300)).curves().values()
    assert len(curve) == 200 and curve[0] == [0, 0]
    assert curve[-1] == pytest.approx([42 / 300, 258 / 300])
