"""`ctmasknet evaluate --predictions`: any system's predictions."""

import json

import pycocotools.mask as mask_util
import pytest

from ctmasknet.evaluation.results import write_results

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

HEAD = "file_name,patient,scan,label,logit_0,logit_1\n"


@pytest.fixture
def run(command):
    def run(*predictions):
        code, printed, errors = command("evaluate", "--predictions", *predictions)
        assert code == 0, errors
        return printed

    return run


@pytest.fixture
def fail(command):
    def fail(*predictions):
        code, _, errors = command("evaluate", "--predictions", *predictions)
        assert code == 2
        return errors

    return fail


def write_csv(path, patients, wrong=()):
    rows = [
        f"{patient}_{i}.png,{patient},S,{n % 2},{0 if n % 2 else 2},{int((n in wrong) != n % 2)}\n"
        for n, patient in enumerate(patients)
        for i in range(2)
    ]
    path.write_text(HEAD + "".join(rows))
    return path


def test_classification_with_validation(tmp_path, run):
    test = write_csv(tmp_path / "test.csv", "abcdef", wrong=(1,))
    validation = write_csv(tmp_path / "val.csv", "uvwxyz")
    out = tmp_path / "out"
    printed = run(
        *(test, "--validation", validation, "--output", out),
        *("--classes", "Non-COVID", "COVID", "--resamples", 50, "--sensitivity", 0.9),
    )
    results = json.loads((out / "results.json").read_text())
    assert results["classes"] == ["Non-COVID", "COVID"]
    assert results["metrics"]["image"]["accuracy"] == pytest.approx(10 / 12)
    assert results["operating_points"]["requested_sensitivity"] == 0.9
    assert results["aggregation"]["chosen_on"] == "validation"
    assert results["command"].startswith("ctmasknet evaluate --predictions test.csv --validation")
    assert results["dataset"]["source"] == "test.csv"
    assert str(tmp_path) not in (out / "results.json").read_text()
    assert results["machine"]["cores"] and results["dataset"]["name"] == "test"
    assert "12 slices, 6 scans, 6 patients" in printed and "not for diagnosis" in printed
    assert {"predictions.csv", "confusion_matrix.png", "reliability.png"} < {
        file.name for file in out.iterdir()
    }
    again = tmp_path / "again"
    run(
        *(out / "predictions.csv", "--validation", validation, "--output", again),
        *("--classes", "Non-COVID", "COVID", "--resamples", 50, "--sensitivity", 0.9),
    )
    repeated = json.loads((again / "results.json").read_text())
    for key in ("metrics", "intervals", "calibration", "operating_points", "confusion"):
        assert repeated[key] == results[key]


def write_lesions(folder, with_masks=True):
    """Two images with one lesion each, found in the first one only."""
    square = [[10, 10, 30, 10, 30, 30, 10, 30]]
    (rle,) = mask_util.frPyObjects(square, 64, 64)
    rle["counts"] = rle["counts"].decode()
    images = [{"id": i, "file_name": f"{i}.png", "height": 64, "width": 64} for i in (1, 2)]
    lesions = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400}
        | {"segmentation": rle, "iscrowd": 0}
        for i in (1, 2)
    ]
    categories = [{"id": 1, "name": "lesion"}]
    truth = {"images": images, "annotations": lesions, "categories": categories}
    found = [{"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.9}]
    if with_masks:
        found[0]["segmentation"] = rle
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "found.json").write_text(json.dumps(found))
    return folder / "truth.json", folder / "found.json"


def test_lesions_of_any_system(tmp_path, run):
    truth, found = write_lesions(tmp_path)
    printed = run(found, "--dataset", truth, "--output", tmp_path / "out", "--resamples", 9)
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["metrics"]["per_image_ap"]["mAP"] == 0.5
    assert results["metrics"]["pixel"]["dice_lesion"] == 0.5
    assert results["metrics"]["froc"]["sensitivity_1_8_fp"] == 0.5
    assert results["metrics"]["segm"]["AP"] == pytest.approx(100 * 51 / 101)
    assert "silent_detector" in printed and "no patient ids" in printed


def test_thresholds_are_passed_on(tmp_path, run):
    options = ("--score-thresh", 0.95, "--pixel-score-thresh", 0.95, "--min-area", 400)
    out = tmp_path / "out"
    truth, found = write_lesions(tmp_path)
    run(found, "--dataset", truth, "--output", out, *options, "--resamples", 0)
    results = json.loads((out / "results.json").read_text())
    assert results["metrics"]["per_image_ap"]["mAP"] == 1  # no lesion is left, nothing is found
    assert results["metrics"]["pixel"]["dice_lesion"] == 0 and results["intervals"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "none.csv: no such file of predictions"),
        (["no.json", "--dataset", "none.json"], "none.json: no such file of ground truth"),
        (["no.json"], "--dataset is missing: name the ground truth"),
        (["no.json", "--dataset", "a.json", "--validation", "a.csv"], "--validation: is for image"),
        (["a.csv", "--dataset", "a.csv"], "--dataset: predictions of slices (.csv) hold their"),
        (["a.csv", "b.csv"], "--predictions: several .csv files"),
        (["a.csv", "b.json"], "--predictions a.csv b.json: expected one .csv file"),
        (["a.txt"], "--predictions a.txt: expected one .csv file"),
        (["a.csv", "--froc-iou", "0.1"], "--froc-iou: has no meaning for predictions of image"),
        (["a.json", "--dataset", "b.json", "--rule", "max"], "--rule: has no meaning for pred"),
        (["a.csv", "--weights", "a.pth"], "a.pth: goes with --model, not --predictions"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(tmp_path, fail, arguments, message):
    error = fail(*arguments, "--output", tmp_path / "out")
    assert error.startswith(f"error: {message}") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_neither_inputs_nor_the_report_of_a_run_are_overwritten(tmp_path, fail):
    test = write_csv(tmp_path / "predictions.csv", "abc")
    before = test.read_text()
    assert "predictions.csv lies in --output" in fail(test, "--output", tmp_path)
    assert test.read_text() == before and [p.name for p in tmp_path.iterdir()] == [test.name]
    for about in ({"kind": "images", "weights_sha256": "ab"}, {"model": "R18", "weights": "a.pth"}):
        write_results(tmp_path / "run/results.json", {}, **about)
        assert "is the report of a run: name another" in fail(test, "--output", tmp_path / "run")


def test_name_is_kept(tmp_path, run):
    test = write_csv(tmp_path / "test.csv", "abc")
    run(test, "--output", tmp_path / "out", "--resamples", 0, "--name", "theirs")
    assert json.loads((tmp_path / "out/results.json").read_text())["model"] == "theirs"
