import numpy as np
import pytest

from ctmasknet.evaluation.bootstrap import (
    difference,
    group_indices,
    interval_warnings,
    intervals,
    resample_weights,
)

HITS = np.array([1.0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 1])


def share(values):
    return lambda weights: {"share": weights @ values / weights.sum(axis=1)}


def test_samples_of_a_patient_are_drawn_together():
    groups = group_indices(["b", "a", "b", "c", "a", "c"])
    assert groups.tolist() == [1, 0, 1, 2, 0, 2]
    weights = np.concatenate(list(resample_weights(groups, 500, seed=1)))
    assert weights.shape == (500, 6)
    assert (weights[:, [0, 1, 3]] == weights[:, [2, 4, 5]]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()  # as many patients as there are
    assert weights.mean(axis=0) == pytest.approx(np.ones(6), abs=0.15)


def test_interval_of_independent_samples_is_the_binomial_one():
    hits = np.repeat([1.0, 0.0], [800, 200])
    found = intervals(share(hits), np.arange(1000))["share"]
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert found.value == 0.8
    assert found.low == pytest.approx(0.8 - half, abs=0.004)
    assert found.high == pytest.approx(0.8 + half, abs=0.004)
    assert (found.naive_low, found.naive_high) == (found.low, found.high)
    assert found.design_effect == 1


def test_design_effect_of_identical_slices_is_their_number():
    # 100 patients with 9 equal slices each: 900 slices know no more than 100.
    patients = np.repeat(np.arange(100), 9)
    found = intervals(share((patients < 80).astype(float)), patients)["share"]
    assert found.design_effect == pytest.approx(9, rel=0.2)
    wide, naive = found.high - found.low, found.naive_high - found.naive_low
    assert wide == pytest.approx(3 * naive, rel=0.15)


def test_same_seed_same_interval_and_parts_do_not_matter(monkeypatch):
    groups = np.arange(12) // 3
    first = intervals(share(HITS), groups, resamples=50, seed=4)
    assert intervals(share(HITS), groups, resamples=50, seed=4) == first
    assert intervals(share(HITS), groups, resamples=50, seed=5) != first
    monkeypatch.setattr("ctmasknet.evaluation.bootstrap._WEIGHTS_AT_A_TIME", 40)
    assert intervals(share(HITS), groups, resamples=50, seed=4) == first


def test_difference_is_paired():
    # Both models fail on the same hard patients; the second is right once more.
    better = HITS.copy()
    better[3] = 1
    groups = np.arange(12)
    paired = intervals(difference(share(HITS), share(better)), groups)["share"]
    assert paired.value == pytest.approx(1 / 12)
    assert 0 <= paired.low and paired.high <= 3.5 / 12
    alone = intervals(share(better), groups)["share"]
    assert alone.high - alone.low > paired.high - paired.low
    same = intervals(difference(share(HITS), share(HITS)), groups)["share"]
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_difference_has_the_names_of_both():
    def one(weights):
        return {"a": weights[:, 0], "b": weights[:, 0]}

    def other(weights):
        return {"b": 2 * weights[:, 0], "c": weights[:, 0]}

    assert set(difference(one, other)(np.ones((1, 1)))) == {"b"}


def test_undefined_resamples_are_left_out_and_undefined_values_stay_so():
    def sensitivity(weights):
        positive = weights[:, :2]
        return {
            "sensitivity": positive[:, 0] / positive.sum(axis=1),
            "never": np.full(len(weights), np.nan),
        }

    found = intervals(sensitivity, np.arange(6), resamples=200)
    assert (found["sensitivity"].low, found["sensitivity"].high) == (0, 1)
    assert np.isnan([found["never"].value, found["never"].low, found["never"].design_effect]).all()


def test_constant_value_has_no_design_effect():
    found = intervals(share(np.ones(6)), np.arange(6) // 2, resamples=20)["share"]
    assert (found.low, found.high, found.naive_low) == (1, 1, 1)
    assert np.isnan(found.design_effect)


def test_one_patient_has_no_interval():
    found = intervals(share(HITS), np.zeros(12, int), resamples=50)["share"]
    assert found.value == HITS.mean() and found.defined == 0
    assert np.isnan([found.low, found.high, found.design_effect]).all()
    assert found.naive_low < found.value < found.naive_high


def test_few_patients_are_warned_of():
    assert interval_warnings(np.arange(10)) == []
    assert interval_warnings(np.arange(30) % 9)[0].startswith("9 patients only: intervals from")
    assert interval_warnings(np.zeros(5, int))[0].startswith("1 patient only")


@pytest.mark.parametrize(("count", "resamples"), [(0, 10), (3, 0)])
def test_nothing_to_resample(count, resamples):
    with pytest.raises(ValueError, match=f"found {count} samples and {resamples} resamples"):
        intervals(share(np.ones(count)), np.arange(count), resamples)
