import json
from pathlib import Path

import pycocotools.mask as mask_util
import pytest

from ctmasknet.evaluation.comparison import (
    NOT_DISTINGUISHABLE,
    common_evaluations,
    compare,
    describe_comparison,
)
from ctmasknet.evaluation.image_report import ImageReportSettings, report_images
from ctmasknet.evaluation.lesion_files import read_lesions
from ctmasknet.evaluation.lesion_report import LesionReportSettings, report_lesions
from ctmasknet.evaluation.prediction_table import make_table, write_predictions
from ctmasknet.evaluation.results import write_results

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("no_figures")


def classify(folder, right, patients=40, name="test"):
    """Predictions of two slices a patient; `right` is a function of the slice's number."""
    rows = [
        (
            f"{i:03}.png",
            f"P{i // 2}",
            "S",
            i // 2 % 2,
            [0.0, 1.0] if (i // 2 % 2) == right(i) else [1.0, 0.0],
        )
        for i in range(2 * patients)
    ]
    table = make_table(rows, ["a", "b"], "test")
    settings = ImageReportSettings(resamples=20)
    report_images(table, folder, None, settings, {"dataset": {"name": name}})
    write_predictions(table, folder / "predictions.csv")
    return folder


def test_a_clear_difference_and_none(tmp_path):
    good = classify(tmp_path / "good", lambda i: True)
    bad = classify(tmp_path / "bad", lambda i: i % 4 < 2)
    other = classify(tmp_path / "other", lambda i: i % 4 >= 2)
    result = compare(bad, good, resamples=200, seed=0)
    found = result.tasks
    accuracy = found["image"]["accuracy"]
    assert (accuracy.first, accuracy.second, accuracy.change.value) == (0.5, 1, 0.5)
    assert accuracy.verdict == "B is higher"
    assert compare(good, bad, 200, 0).tasks["image"]["accuracy"].verdict == "A is higher"
    assert set(found) == {"image", "scan", "patient"}
    same = compare(bad, other, resamples=200, seed=0).tasks["image"]["accuracy"]
    assert same.change.value == 0 and same.verdict == NOT_DISTINGUISHABLE
    text = describe_comparison(result)
    assert "B is higher" in text and "Research use only" in text
    assert result.unit == "patient" and "95 % by patients" in text
    assert "Slices to scans: A by the rule mean, B by mean." in text


def test_one_lucky_slice_is_not_distinguishable(tmp_path):
    one = classify(tmp_path / "a", lambda i: i != 3)
    other = classify(tmp_path / "b", lambda i: i not in (3, 7))
    accuracy = compare(one, other, 500, 0).tasks["image"]["accuracy"]
    assert accuracy.change.value == pytest.approx(-1 / 80)
    assert accuracy.verdict == NOT_DISTINGUISHABLE


def test_other_data_is_refused(tmp_path):
    one = classify(tmp_path / "a", lambda i: True)
    other = classify(tmp_path / "b", lambda i: True, patients=41)
    with pytest.raises(ValueError, match=r"\(80 slices\).*\(82 slices\).*same data"):
        compare(one, other, 10, 0)


def square(x, y, side):
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


@pytest.fixture
def truth(tmp_path):
    """Twenty slices of ten patients with one lesion of 400 pixels each."""
    images = [
        {"id": i, "file_name": f"{i}.png", "height": 64, "width": 64, "patient": f"P{i // 2}"}
        for i in range(20)
    ]
    annotations = [
        {"id": i + 1, "image_id": i, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400}
        | {"segmentation": square(10, 10, 20), "iscrowd": 0}
        for i in range(20)
    ]
    content = {"images": images, "annotations": annotations}
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({**content, "categories": [{"id": 1, "name": "lesion"}]}))
    return path


def detect(folder, truth, chosen, **settings):
    (rle,) = mask_util.frPyObjects(square(10, 10, 20), 64, 64)
    rle["counts"] = rle["counts"].decode()
    found = [
        {"image_id": i, "category_id": 1, "score": 0.9, "bbox": [10, 10, 20, 20]}
        | {"segmentation": rle}
        for i in chosen
    ]
    folder.mkdir()
    (folder / "coco_instances_results.json").write_text(json.dumps(found))
    lesions = read_lesions(truth, [folder / "coco_instances_results.json"])
    settings = LesionReportSettings(resamples=20, **settings)
    report_lesions(lesions, folder, settings, {"dataset": {"name": "lesions"}})
    return folder


def test_lesion_models(tmp_path, truth):
    every = detect(tmp_path / "every", truth, range(20))
    few = detect(tmp_path / "few", truth, range(8))
    found = compare(few, every, 200, 0).tasks
    assert found["per_image_ap"]["mAP"].first == pytest.approx(0.4)
    assert found["per_image_ap"]["mAP"].verdict == "B is higher"
    assert found["segm"]["AP50"].second == pytest.approx(100)
    assert "pixel" in found and "froc" in found


def test_other_thresholds_are_refused(tmp_path, truth):
    one = detect(tmp_path / "one", truth, range(20))
    other = detect(tmp_path / "other", truth, range(20), score_thresh=0.1, seed=3)
    with pytest.raises(ValueError, match=r"different settings \(score_thresh 0.75 and 0.1\)"):
        compare(one, other, 10, 0)


def test_one_patient_can_tell_nothing(tmp_path):
    one = classify(tmp_path / "one", lambda i: True, patients=1)
    other = classify(tmp_path / "other", lambda i: False, patients=1)
    result = compare(one, other, 50, 0)
    assert result.tasks["image"]["accuracy"].change.value == -1
    assert result.tasks["image"]["accuracy"].verdict == "undefined"
    assert any("1 patient only" in note for note in result.notes)


def test_another_kind_of_results_file(tmp_path):
    write_results(tmp_path / "results.json", {}, kind="comparison")
    with pytest.raises(ValueError, match="results.json is not that of an evaluation"):
        common_evaluations(tmp_path, tmp_path)


def test_kinds_are_not_mixed(tmp_path, truth):
    lesions = detect(tmp_path / "lesions", truth, range(20))
    images = classify(tmp_path / "images", lambda i: True)
    with pytest.raises(ValueError, match="is about lesions, .* about images"):
        compare(lesions, images, 10, 0)


def test_runs_are_compared_by_data_set(tmp_path):
    for run in ("a", "b"):
        for name in ("one", "two"):
            classify(tmp_path / run / "inference" / name, lambda i: True, name=name)
    classify(tmp_path / "c" / "inference" / "three", lambda i: True, name="three")
    pairs = common_evaluations(tmp_path / "a", tmp_path / "b")
    assert list(pairs) == ["one", "two"]
    assert pairs["one"] == tuple(tmp_path / run / "inference" / "one" for run in "ab")
    single = tmp_path / "c" / "inference" / "three"
    assert common_evaluations(tmp_path / "c", single / "results.json") == {
        "three": (single, single)
    }
    with pytest.raises(
        ValueError, match="results for one, two, .* for three: no data set in common"
    ):
        common_evaluations(tmp_path / "a", tmp_path / "c")
    with pytest.raises(FileNotFoundError, match="no such results file"):
        common_evaluations(tmp_path / "nowhere", tmp_path / "a")


def test_command(tmp_path, command):
    one = classify(tmp_path / "one", lambda i: True)
    other = classify(tmp_path / "other", lambda i: i % 2)
    options = ("--resamples", 50, "--output", tmp_path / "out.json")
    _, printed, _ = command("compare", one, other, *options)
    assert "A is higher" in printed
    saved = json.loads((tmp_path / "out.json").read_text())
    accuracy = saved["metrics"]["test"]["tasks"]["image"]["accuracy"]
    assert accuracy["verdict"] == "A is higher" and accuracy["change"]["high"] < 0
    assert (saved["resamples"], saved["seed"]) == (50, 0)
