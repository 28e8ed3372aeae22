import numpy as np
import pytest

from ctmasknet.evaluation.aggregation import choose_rule, levels
from ctmasknet.evaluation.prediction_table import make_table
from ctmasknet.evaluation.rules import MEAN, RULES, parse_rule

# Two groups, interleaved: slices 0, 2, 3 and slices 1, 4.
GROUPS = np.array([0, 1, 0, 0, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]])


def table_of(*rows):
    """A table of (patient, scan, label, probabilities) rows."""
    named = [
        (f"{i:03}.png", patient, scan, label, np.log(probabilities).tolist())
        for i, (patient, scan, label, probabilities) in enumerate(rows)
    ]
    return make_table(named, [f"c{i}" for i in range(len(rows[0][3]))], "test")


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("mean", [[1.7 / 3, 1.3 / 3], [0.4, 0.6]]),
        ("max", [[0.9, 0.8], [0.5, 0.7]]),
        ("top_2_mean", [[0.75, 0.6], [0.4, 0.6]]),
        ("top_9_mean", [[1.7 / 3, 1.3 / 3], [0.4, 0.6]]),
        ("share_above_0.5", [[2 / 3, 1 / 3], [0, 1 / 2]]),  # 0.5 itself is not above
        # As often above in the first group, never in the second: no class is ahead, hence the mean.
        ("share_above_0.75", [[1.7 / 3, 1.3 / 3], [0.4, 0.6]]),
    ],
)
def test_rules_by_hand(rule, values):
    values = np.array(values)
    found = parse_rule(rule)(PROBABILITIES, GROUPS)
    np.testing.assert_allclose(found, values / values.sum(axis=1, keepdims=True))


def test_rules_have_their_names():
    assert [rule.name for rule in RULES] == [
        *("mean", "max", "top_3_mean", "top_10_mean", "share_above_0.5", "share_above_0.8")
    ]
    assert parse_rule("share_above_0").above == 0


@pytest.mark.parametrize(
    "text", ["", "median", "top_0_mean", "top_mean", "share_above_1", "share_above_1.5", "max "]
)
def test_unknown_rules_are_refused_with_the_valid_ones(text):
    with pytest.raises(ValueError, match=f"'{text}': expected mean, max, top_<k>_mean.*share_abo"):
        parse_rule(text)


def test_scans_of_two_patients_with_one_name_stay_apart():
    found = levels(
        table_of(("P", "1", 0, [0.8, 0.2]), ("Q", "1", 1, [0.4, 0.6]), ("Q", "1", 1, [0.2, 0.8])),
        MEAN,
    )
    assert [level.name for level in found] == ["image", "scan", "patient"]
    assert found[1].labels.tolist() == [0, 1]
    assert found[1].patients == ("P", "Q")
    np.testing.assert_allclose(found[1].probabilities, [[0.8, 0.2], [0.3, 0.7]])


def test_a_patient_is_the_mean_of_the_scans_however_long():
    rows = [("P", "1", 0, [0.9, 0.1])] * 3 + [("P", "2", 0, [0.1, 0.9])]
    image, scan, patient = levels(table_of(*rows), parse_rule("max"))
    assert len(image.labels) == 4 and len(scan.labels) == 2
    np.testing.assert_allclose(patient.probabilities, [[0.5, 0.5]])
    assert patient.patients == ("P",) and patient.labels.tolist() == [0]


def test_contradictory_labels_are_left_out_and_counted():
    scans_differ = [("P", "1", 0, [0.9, 0.1]), ("P", "2", 1, [0.9, 0.1])]
    slices_differ = [("Q", "1", 0, [0.9, 0.1]), ("Q", "1", 1, [0.9, 0.1])]
    agree = [("R", "1", 1, [0.4, 0.6])]
    image, scan, patient = levels(table_of(*scans_differ, *slices_differ, *agree), MEAN)
    assert image.left_out == 0 and len(image.labels) == 5
    assert scan.left_out == 1 and scan.patients == ("P", "P", "R")
    assert patient.left_out == 2 and patient.patients == ("R",)
    assert patient.confusion().tolist() == [[0, 0], [0, 1]]


def test_a_level_may_be_empty():
    rows = [("P", "1", 0, [0.9, 0.1]), ("P", "1", 1, [0.9, 0.1])]
    scan = levels(table_of(*rows), MEAN)[1]
    assert scan.left_out == 1 and scan.confusion().tolist() == [[0, 0], [0, 0]]


def test_the_rule_that_is_right_on_validation_is_chosen():
    # Diseased scans have one bad slice of three: the maximum sees it, the mean does not.
    rows = [("P", "1", 1, [0.1, 0.9])] + [("P", "1", 1, [0.8, 0.2])] * 2
    rows += [("Q", "1", 0, [0.8, 0.2])] * 3
    rule, scores = choose_rule(table_of(*rows), [MEAN, parse_rule("max")])
    assert rule.name == "max" and scores == {"mean": 0.5, "max": 1}


def test_of_equal_rules_the_first_is_taken():
    rows = [("P", "1", 0, [0.9, 0.1])] * 2 + [("Q", "1", 1, [0.3, 0.7])] * 2  # all are right
    assert choose_rule(table_of(*rows))[0].name == "mean"
    same = [parse_rule("top_3_mean"), MEAN]
    assert choose_rule(table_of(*rows), same)[0].name == "top_3_mean"


def test_a_scan_above_no_threshold_is_not_given_to_the_first_class():
    rows = [("P", "1", 2, [0.28, 0.31, 0.41])] * 4
    scan = levels(table_of(*rows), parse_rule("share_above_0.5"))[1]
    assert scan.confusion()[2].tolist() == [0, 0, 1]
