import dataclasses
import json

import numpy as np
import pytest

from ctmasknet.data.classes import IMAGE_CLASSES
from ctmasknet.evaluation.bootstrap import point_values
from ctmasknet.evaluation.image_figures import save_confusion_matrix
from ctmasknet.evaluation.image_metrics import ImageStatistic
from ctmasknet.evaluation.image_report import ImageReportSettings, report_images
from ctmasknet.evaluation.prediction_table import make_table
from ctmasknet.evaluation.text import confusion_table, describe
from ctmasknet.wording import NOTICE

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

FEW = ImageReportSettings(resamples=20)
PNG = b"\x89PNG"


def random_table(prefix, patients=12, seed=0, classes=IMAGE_CLASSES):
    """Two scans of three slices for each patient, mostly right."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(patients):
        label = number % len(classes)
        for scan in "AB":
            for i in range(3):
                logits = random.normal(0, 2, len(classes))
                logits[label] += 3
                name = f"{prefix}{number:02}{scan}{i}.png"
                rows.append((name, f"{prefix}{number:02}", scan, label, logits.tolist()))
    return make_table(rows, classes, prefix)


def test_report_with_validation(tmp_path):
    table, validation = random_table("t"), random_table("v", seed=1)
    about = {"model": "R18", "seconds": 1.5, "dataset": {"name": "tiny"}}
    results = report_images(table, tmp_path, validation, FEW, about)
    assert results == json.loads((tmp_path / "results.json").read_text())
    assert results["kind"] == "images" and results["model"] == "R18" and results["seconds"] == 1.5
    assert results["classes"] == list(IMAGE_CLASSES)
    assert results["dataset"] == {
        "name": "tiny",
        "fingerprint": table.fingerprint(),
        **{"images": 72, "scans": 24, "patients": 12},
        "left_out": {"scan": 0, "patient": 0},
    }
    statistic = ImageStatistic(table.labels, table.probabilities(), IMAGE_CLASSES)
    expected = point_values(statistic, 72)
    assert results["metrics"]["image"] == pytest.approx(expected)
    for task, count in (("image", 72), ("scan", 24), ("patient", 12)):
        assert np.sum(results["confusion"][task]) == count
        value = results["metrics"][task]["accuracy"]
        assert value == pytest.approx(np.trace(results["confusion"][task]) / count)
        assert results["intervals"]["values"][task]["accuracy"]["value"] == pytest.approx(value)
    assert results["intervals"]["unit"] == "patient" and results["intervals"]["resamples"] == 20
    scores = results["aggregation"]["validation_scores"]
    assert scores[results["aggregation"]["rule"]] == max(scores.values())
    assert results["aggregation"]["chosen_on"] == "validation"
    assert results["calibration"]["fitted_on"]["fingerprint"] == validation.fingerprint()
    assert results["calibration"]["before"]["ece"] == pytest.approx(expected["ece"])
    points = results["operating_points"]
    assert points["requested_sensitivity"] == 0.95
    assert all(points["values"]["scan"][c]["validation_sensitivity"] >= 0.95 for c in IMAGE_CLASSES)
    assert results["settings"] == dataclasses.asdict(FEW) and results["warnings"] == []
    for name in ("confusion_matrix.png", "reliability.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)

    text = describe(results)
    assert text.startswith("tiny: 72 slices, 24 scans, 12 patients\n")
    assert "95 % by patients" in text and "by scans (naive)" in text
    assert "chosen by the balanced accuracy of validation's scans" in text
    assert "fitted on 72 validation slices" in text and "sensitivity of 95.0%" in text
    assert text.endswith(NOTICE)
    assert max(map(len, text.splitlines())) <= 110


def test_nothing_is_chosen_without_validation(tmp_path):
    settings = ImageReportSettings(resamples=0)
    results = report_images(random_table("t"), tmp_path, settings=settings)
    expected = {"rule": "mean", "chosen_on": "default", "validation_scores": None}
    assert results["aggregation"] == expected
    assert results["calibration"] is results["operating_points"] is results["intervals"] is None
    text = describe(results)
    assert text.startswith("72 slices") and "95 %" not in text and "Temperature" not in text


def test_a_given_rule_is_used(tmp_path):
    settings = ImageReportSettings("share_above_0.9", resamples=0)
    results = report_images(random_table("t"), tmp_path, random_table("v", seed=1), settings)
    assert results["aggregation"]["rule"] == "share_above_0.9"
    assert results["aggregation"]["chosen_on"] == "given"
    assert "share_above_0.9: as asked" in describe(results)


def test_temperature_and_thresholds_come_from_validation_alone(tmp_path):
    validation, settings = random_table("v", seed=1), ImageReportSettings(resamples=0)
    first, second = (
        report_images(random_table("t", seed=seed), tmp_path, validation, settings)
        for seed in (2, 3)
    )
    assert first["calibration"]["temperature"] == second["calibration"]["temperature"]
    assert first["calibration"]["before"] != second["calibration"]["before"]
    thresholds = [
        [point["threshold"] for point in results["operating_points"]["values"]["image"].values()]
        for results in (first, second)
    ]
    assert thresholds[0] == thresholds[1]


def test_choosing_on_the_reported_slices_is_refused(tmp_path):
    with pytest.raises(ValueError, match="are of the same slices"):
        report_images(random_table("t"), tmp_path, random_table("t", seed=5), FEW)
    assert not any(tmp_path.iterdir())


def test_other_classes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="classes a, b, the reported predictions Control, Common"):
        report_images(random_table("t"), tmp_path, random_table("v", classes=("a", "b")), FEW)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "median"}, "aggregation rule 'median'"),
        ({"sensitivity": 95}, "sensitivity 95"),
        ({"resamples": -1}, "resamples -1: expected 0"),
    ],
)
def test_unusable_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ImageReportSettings(**settings)


def test_scans_of_one_slice_choose_no_rule(tmp_path):
    rows = [(f"v{i}.png", f"v{i}", "A", i % 3, [0.0, 0.5, i % 2]) for i in range(9)]
    validation = make_table(rows, IMAGE_CLASSES, "v")
    results = report_images(random_table("t"), tmp_path, validation, FEW)
    assert results["aggregation"]["rule"] == "mean"
    assert results["aggregation"]["chosen_on"] == "default"
    assert "no validation scans of several slices" in describe(results)
    assert results["calibration"]["fitted_on"]["images"] == 9


def test_a_temperature_at_its_limit_is_warned_of(tmp_path):
    wrong = [(f"v{i}.png", "P", "A", i % 3, (-9 * np.eye(3)[i % 3]).tolist()) for i in range(9)]
    results = report_images(random_table("t"), tmp_path, make_table(wrong, IMAGE_CLASSES, "v"), FEW)
    assert any("temperature is at the limit" in line for line in results["warnings"])


def test_shared_patients_are_warned_of(tmp_path):
    table = random_table("t")
    rows = [(f"v{i}.png", p, "A", i % 3, [0.0, 0, 1]) for i, p in enumerate(("t00", "t01", "x"))]
    results = report_images(table, tmp_path, make_table(rows, IMAGE_CLASSES, "v"), FEW)
    assert "Warning: 2 patients of validation are among" in describe(results)


def test_slices_without_patients_are_warned_of(tmp_path):
    rows = [(f"{i}.png", f"{i}.png", f"{i}.png", i % 3, [1.0, 0, i % 2]) for i in range(9)]
    results = report_images(make_table(rows, IMAGE_CLASSES, "t"), tmp_path, settings=FEW)
    assert results["intervals"]["unit"] == "slice"
    text = describe(results)
    assert "95 % by slices" in text and "naive" not in text
    assert "Warning: each slice counts as a patient" in text
    rows[1:3] = [(row[0], "P", "S", *row[3:]) for row in rows[1:3]]
    results = report_images(make_table(rows, IMAGE_CLASSES, "t"), tmp_path, settings=FEW)
    assert results["intervals"]["unit"] == "patient"
    assert "Warning: each of 7 slices without id counts" in describe(results)


def test_one_slice_of_one_class(tmp_path):
    table = make_table([("a.png", "P", "S", 0, [1.0, 0, 0])], IMAGE_CLASSES, "t")
    results = report_images(table, tmp_path, random_table("v"), FEW)
    assert results["metrics"]["image"]["accuracy"] == 1
    assert results["metrics"]["image"]["sensitivity_COVID_19"] is None
    assert results["operating_points"]["values"]["image"]["COVID-19"]["sensitivity"] is None
    text = describe(results)
    assert "1 slice, 1 scan, 1 patient\n" in text
    line = next(line for line in text.splitlines() if line.startswith("sensitivity_COVID_19"))
    assert line.split()[1:] == ["-", "-"]


def test_contradictory_labels_are_reported(tmp_path):
    rows = [(f"{i}.png", "P", "S", i, [1.0, 0, 0]) for i in range(2)]
    results = report_images(make_table(rows, IMAGE_CLASSES, "t"), tmp_path, settings=FEW)
    assert results["dataset"]["scans"] == results["dataset"]["left_out"]["scan"] == 1
    assert set(results["intervals"]["values"]) == {"image"}
    assert results["metrics"]["patient"]["accuracy"] is None
    assert "Warning: 1 scan left out, as the slices have several labels." in describe(results)


def test_table_shows_every_count():
    matrix = [[9236, 188, 26], [116, 7150, 129], [0, 0, 0]]
    rows = [line.split() for line in confusion_table(matrix, IMAGE_CLASSES).splitlines()[2:]]
    assert rows == [
        ["true", "Control", "9236", "188", "26", "97.7%"],
        ["true", "Common", "Pneumonia", "116", "7150", "129", "96.7%"],
        ["true", "COVID-19", "0", "0", "0", "-"],
        ["precision", "98.8%", "97.4%", "0.0%", "accuracy", "97.3%"],
    ]


def test_confusion_matrix_without_slices_is_drawn(tmp_path):
    save_confusion_matrix(tmp_path / "new" / "matrix.png", np.zeros((2, 2), int), ["a-b", "c"])
    assert (tmp_path / "new" / "matrix.png").read_bytes().startswith(PNG)


def test_a_report_that_cannot_be_written_leaves_nothing_of_itself(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    table = random_table("t")
    before = report_images(table, tmp_path / "old", None, FEW)
    monkeypatch.setattr("ctmasknet.evaluation.image_report.write_results", full)
    for folder in ("old", "new"):
        with pytest.raises(OSError, match="No space left"):
            report_images(random_table("other"), tmp_path / folder, None, FEW)
    assert list((tmp_path / "new").iterdir()) == []
    assert json.loads((tmp_path / "old" / "results.json").read_text()) == before
    assert not list((tmp_path / "old").glob(".*"))
