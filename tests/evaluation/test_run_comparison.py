import json

import numpy as np
import pytest

from ctmasknet.evaluation.prediction_table import make_table, write_predictions
from ctmasknet.evaluation.results import write_results
from ctmasknet.evaluation.run_comparison import compare_runs, joined_predictions

pytestmark = pytest.mark.usefixtures("no_figures")


def fold(folder, numbers, wrong=()):
    """The predictions of a fold: slice n is of class n % 2."""
    rows = [
        (f"{n}.png", f"{n}.png", f"{n}.png", n % 2, [0.0, 3.0 if (n in wrong) != n % 2 else -3.0])
        for n in numbers
    ]
    write_predictions(make_table(rows, ("a", "b"), "test"), folder / "predictions.csv")
    write_results(folder / "results.json", {}, classes=("a", "b"), seconds={"training": 90.0})
    return folder


@pytest.fixture
def folders(tmp_path):
    parts = [range(20), range(20, 40)]
    wrong = {"first": range(0, 40, 4), "second": (1,), "short": ()}
    return {
        name: [
            fold(tmp_path / name / str(i), numbers, wrong[name])
            for i, numbers in enumerate(parts[:1] if name == "short" else parts)
        ]
        for name in wrong
    }


def test_slices_of_all_folds_are_judged_together(folders, tmp_path):
    results = compare_runs(folders, tmp_path, {"folds": 2}, resamples=200)
    assert results["metrics"]["first"]["accuracy"] == 0.75
    assert results["metrics"]["second"]["accuracy"] == 39 / 40
    assert results["slices"] == {"first": 40, "second": 40, "short": 20}
    assert results["minutes"]["first"] == 1.5 and results["folds"] == 2
    change = results["differences"]["second"]["accuracy"]
    assert change["value"] == pytest.approx(9 / 40) and 0 < change["low"] < change["high"]
    assert set(results["differences"]) == {"second"}  # the short one is of other slices
    assert json.loads((tmp_path / "results.json").read_text()) == results


def test_the_table(folders, tmp_path):
    compare_runs(folders, tmp_path, {}, resamples=50)
    head, _, first, second, short, *_, note = (tmp_path / "table.md").read_text().splitlines()
    names = [x.strip() for x in head.split("|")[1:-1]]
    cells = [
        dict(zip(names, map(str.strip, x.split("|")[1:-1]), strict=True))
        for x in (first, second, short)
    ]
    assert [x["run"] for x in cells] == ["first", "second", "short"]
    assert cells[0]["accuracy"].startswith("0.750 (") and cells[0]["accuracy - first"] == "-"
    assert cells[1]["accuracy - first"].startswith("+0.225 (")
    assert cells[0]["sensitivity_a"] == "0.500" and cells[0]["sensitivity_b"] == "1.000"
    assert cells[2]["accuracy - first"] == "-" and cells[2]["slices"] == "20"
    assert "Research use only" in note


def test_a_slice_of_two_folds_is_refused(tmp_path):
    one, other = fold(tmp_path / "0", range(4)), fold(tmp_path / "1", range(3, 8))
    with pytest.raises(ValueError, match="3.png is there twice"):
        joined_predictions([one, other])
    assert np.array_equal(joined_predictions([one]).labels, [0, 1, 0, 1])
