import json

import numpy as np
import pytest

from ctmasknet.engine.scan_training import train_scan_head
from ctmasknet.evaluation.aggregation import levels
from ctmasknet.evaluation.comparison import compare
from ctmasknet.evaluation.image_report import ImageReportSettings, report_images
from ctmasknet.evaluation.prediction_table import make_table, write_predictions
from ctmasknet.evaluation.rules import MEAN
from ctmasknet.evaluation.scan_rules import (
    ScanHeadRule,
    check_rule,
    find_rule,
    rule_of_results,
    write_scan_head,
)
from ctmasknet.modeling.scan_head import POOLS

pytestmark = pytest.mark.usefixtures("no_figures")


def scans(seed=0, count=40, prefix="P"):
    """Scans of 8 to 12 slices; of half of them one slice alone is likely of class 1."""
    rng = np.random.default_rng(seed)
    rows = []
    for scan in range(count):
        size = rng.integers(8, 13)
        probabilities = rng.uniform(0.02, 0.3, size)
        if scan % 2:
            probabilities[rng.integers(size)] = rng.uniform(0.7, 0.95)
        rows += [
            (f"{prefix}{scan}_{z}.png", f"{prefix}{scan}", "S", scan % 2, np.log([1 - p, p]))
            for z, p in enumerate(probabilities)
        ]
    return make_table(rows, ("a", "b"), "test")


def accuracy(rule, table):
    found = levels(table, rule)[1]
    return (found.probabilities.argmax(axis=1) == found.labels).mean()


@pytest.fixture(scope="module")
def heads():
    return {pool: train_scan_head(scans(), pool) for pool in POOLS}


@pytest.mark.parametrize("pool", ["max", "attention"])
def test_one_slice_in_ten_is_found_where_the_mean_drowns_it(heads, pool):
    other = scans(seed=1)
    assert accuracy(MEAN, other) == 0.5
    assert accuracy(heads[pool], other) >= 0.95


def test_a_trained_mean_has_a_threshold_of_its_own(heads):
    assert accuracy(heads["mean"], scans(seed=1)) > 0.7


@pytest.mark.parametrize("pool", POOLS)
def test_it_is_a_rule_as_others(heads, pool):
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet((1, 1), 9)
    groups = np.array([1, 0, 2, 2, 0, 1, 2, 2, 2])
    found = heads[pool](probabilities, groups)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    order = rng.permutation(9)
    np.testing.assert_allclose(heads[pool](probabilities[order], groups[order]), found, atol=1e-6)
    for scan in range(3):  # whatever others share the table
        own = probabilities[groups == scan]
        alone = heads[pool](own, np.zeros(len(own), int))
        np.testing.assert_allclose(alone[0], found[scan], atol=1e-6)


@pytest.mark.parametrize("pool", POOLS)
def test_a_probability_of_zero_is_finite(heads, pool):
    found = heads[pool](np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros(2, int))
    assert np.isfinite(found).all()


def test_training_repeats_and_leaves_random_numbers_alone(heads):
    again = train_scan_head(scans(), "attention")
    assert again.content == heads["attention"].content
    assert train_scan_head(scans(), "attention", seed=1).content != again.content


def test_a_file_gives_the_same_rule(heads, tmp_path):
    path = tmp_path / "head.json"
    write_scan_head(path, heads["attention"])
    rule = find_rule(str(path))
    assert rule.name == "attention_head"
    values, groups = np.array([[0.2, 0.8], [0.9, 0.1]]), np.zeros(2, int)
    np.testing.assert_array_equal(rule(values, groups), heads["attention"](values, groups))


def test_reports_keep_the_head_and_compare_finds_it_again(heads, tmp_path):
    path, table = tmp_path / "head.json", scans(seed=1)
    write_scan_head(path, heads["max"])
    for name, rule in (("head", str(path)), ("mean", "mean")):
        settings = ImageReportSettings(rule, resamples=20)
        results = report_images(table, tmp_path / name, None, settings, {"dataset": {"name": "t"}})
        write_predictions(table, tmp_path / name / "predictions.csv")
    path.unlink()
    found = json.loads((tmp_path / "head/results.json").read_text())
    assert found["aggregation"]["rule"] == found["settings"]["rule"] == "max_head"
    assert str(tmp_path) not in json.dumps(found)
    assert isinstance(rule_of_results(found["aggregation"]), ScanHeadRule)
    assert rule_of_results(results["aggregation"]) == MEAN
    change = compare(tmp_path / "mean", tmp_path / "head", 50, 0).tasks["scan"]["accuracy"]
    assert change.first == 0.5 and change.second >= 0.95 and change.verdict == "B is higher"


def test_it_is_not_judged_on_its_own_slices_nor_on_other_classes(heads, tmp_path):
    path = tmp_path / "head.json"
    write_scan_head(path, heads["max"])
    with pytest.raises(ValueError, match="trained on the reported slices"):
        report_images(scans(), tmp_path / "out", None, ImageReportSettings(str(path)))
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="head has the classes a, b, the slices a, c: expected"):
        check_rule(heads["max"], ("a", "c"))
    check_rule(MEAN, ("a", "c"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "head.json: Expecting property name"),
        ("[]", "head.json: not a scan head"),
        ('{"pool": "max"}', "not a scan head .no classes, hidden, trained_on, weights"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path, content, message):
    path = tmp_path / "head.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        find_rule(str(path))
    with pytest.raises(FileNotFoundError, match="no such scan head; `ctmasknet train-scans`"):
        find_rule(str(tmp_path / "none.json"))


def test_damaged_weights_are_refused(heads):
    content = json.loads(json.dumps(heads["max"].content))
    content["weights"]["classifier.bias"] = [0.0, float("nan")]
    with pytest.raises(ValueError, match="weights that are no numbers"):
        ScanHeadRule.from_content(content)
    content["weights"]["classifier.bias"] = [0.0]
    with pytest.raises(ValueError, match="not a scan head"):
        ScanHeadRule.from_content(content)


def test_what_cannot_be_learned_from(heads):
    single = make_table(
        [(f"{i}.png", f"P{i}", f"S{i}", i % 2, [0.0, 1.0]) for i in range(4)], ("a", "b"), "test"
    )
    with pytest.raises(ValueError, match="each scan has a single slice"):
        train_scan_head(single, "max")
    one_class = make_table(
        [(f"{i}.png", "P", f"S{i // 2}", 0, [0.0, 1.0]) for i in range(4)], ("a", "b"), "test"
    )
    with pytest.raises(ValueError, match="no scan of the class b to learn from"):
        train_scan_head(one_class, "max")
    with pytest.raises(ValueError, match="scan head is 'median'"):
        train_scan_head(scans(), "median")
    with pytest.raises(ValueError, match="steps is 0"):
        train_scan_head(scans(), "max", steps=0)


def test_scans_of_several_labels_are_left_out(heads):
    table = scans()
    rows = [
        *zip(table.file_names, table.patients, table.scans, table.labels, table.logits, strict=True)
    ]
    mixed = [("X0.png", "X", "S", 0, [0.0, 1.0]), ("X1.png", "X", "S", 1, [0.0, 1.0])]
    both = train_scan_head(make_table(rows + mixed, ("a", "b"), "test"), "max")
    assert both.content["trained_on"]["scans"] == 40
    assert both.content["weights"] == heads["max"].content["weights"]
