"""Cramér's V by hand, and in which words it is told."""

import math

import numpy as np
import pytest

from ctmasknet.audit.confounding import cramers_v, position_association, source_association
from ctmasknet.audit.records import Slice, Split
from ctmasknet.data.classes import IMAGE_CLASSES


def split(name, *slices):
    """Slices of (file name, label, patient, source)."""
    rows = [
        Slice(name, file, file, label=label, patient=patient, scan=patient, source=source)
        for file, label, patient, source in slices
    ]
    return Split(name, name, IMAGE_CLASSES, rows)


def test_cramers_v_by_hand():
    # chi2 = n (ad - bc)^2 / products of the margins = 60 (400 - 100)^2 / 30^4; V^2 = chi2 / n.
    # chi2 = 60 / 9; with one degree of freedom p = erfc(sqrt(chi2 / 2)).
    p_value = math.erfc(math.sqrt(60 / 18))
    assert cramers_v(np.array([[20, 10], [10, 20]])) == pytest.approx((1 / 3, p_value))
    assert cramers_v(np.array([[5, 0], [0, 7]]))[0] == pytest.approx(1)
    assert cramers_v(np.array([[2, 4], [3, 6]])) == pytest.approx((0, 1))


def test_empty_rows_and_columns_do_not_count():
    table = np.array([[20, 0, 10], [0, 0, 0], [10, 0, 20]])
    assert cramers_v(table)[0] == pytest.approx(1 / 3)
    assert cramers_v(np.array([[3, 4]])) is None
    assert cramers_v(np.array([[3, 0], [4, 0]])) is None


def test_source_counts_patients_not_slices():
    rows = [(f"{n}.png", 0, "p", "A") for n in range(9)]
    rows += [("x.png", 1, "q", "B"), ("y.png", 1, "r", "B"), ("z.png", 0, "s", "")]
    found = source_association([split("train", *rows[:5]), split("test", *rows[5:])], IMAGE_CLASSES)
    assert found["rows"] == ["A", "B"]
    assert found["table"] == [[1, 0, 0], [0, 2, 0]]
    assert found["cramers_v"] == pytest.approx(1)
    assert "no more than by chance (p = 0.08)" in found["words"]  # of three patients
    assert found["left_out"] == "patients without a source, left out: 1"


@pytest.mark.parametrize(
    ("sources", "words"),
    [(("", ""), "no source is known"), (("A", "A"), "one source (A)")],
)
def test_source_says_when_it_cannot_say(sources, words):
    rows = [(f"{n}.png", n, str(n), source) for n, source in enumerate(sources)]
    found = source_association([split("train", *rows)], IMAGE_CLASSES)
    assert found["cramers_v"] is None
    assert found["words"] == f"cannot say: {words}"


def numbered(label_of, scan):
    return [
        (f"{['Normal', 'CP', 'NCP'][label_of(n)]}_1_{scan}_{n:04d}.png", label_of(n), "p", "")
        for n in range(100)
    ]


def test_position_that_tells_the_label():
    by_half = [split(name, *numbered(lambda n: n // 50, 1)) for name in ("train", "test")]
    found = position_association(by_half, IMAGE_CLASSES)
    assert found["cramers_v"] == pytest.approx(1)
    assert (found["accuracy"], found["base_rate"]) == (1.0, 0.5)
    assert [sum(row) for row in found["table"]] == [20] * 10
    assert found["rows"][:2] == ["0 to 9", "10 to 19"]
    assert found["rows"][-1] == "90 and above"


def test_position_that_tells_nothing():
    alternating = [split(name, *numbered(lambda n: n % 2, 1)) for name in ("train", "test")]
    found = position_association(alternating, IMAGE_CLASSES)
    assert found["cramers_v"] == pytest.approx(0)
    assert (found["accuracy"], found["base_rate"]) == (0.5, 0.5)
    assert found["p_value"] == pytest.approx(1)
    assert "no more than by chance" in found["words"]


def test_one_slice_number_makes_one_bin():
    rows = [("NCP_1_1_0000.png", 2, "p", ""), ("CP_1_1_0000.png", 1, "q", "")]
    found = position_association([split("train", *rows)], IMAGE_CLASSES)
    assert found["cramers_v"] is None
    assert found["accuracy"] is None
    assert found["rows"] == ["0 and above"]


@pytest.mark.parametrize(
    ("same", "words"), [(10, "strongly"), (7, "moderately"), (6, "weakly"), (5.3, "hardly")]
)
def test_strength_in_words(same, words):
    rows = []
    for label, usual, other in ((0, "A", "B"), (1, "B", "A")):
        sources = [usual if n < 200 * same else other for n in range(2000)]
        rows += [("x.png", label, f"{label}_{n}", source) for n, source in enumerate(sources)]
    found = source_association([split("train", *rows)], IMAGE_CLASSES)
    assert found["cramers_v"] == pytest.approx(2 * same / 10 - 1)
    assert words in found["words"]


def test_names_that_are_numbers():
    rows = [(f"scan/{n:04d}.png", n // 10, "p", "") for n in range(20)]
    found = position_association([split("train", *rows)], IMAGE_CLASSES)
    assert found["cramers_v"] == pytest.approx(1)


def test_names_without_numbers():
    assert position_association([split("train", ("a.png", 0, "p", ""))], IMAGE_CLASSES) is None
