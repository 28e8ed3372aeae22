import json
import math

import numpy as np
import pytest
from PIL import Image

from ctmasknet.evaluation import lesion_figures
from ctmasknet.evaluation.bootstrap import difference, intervals
from ctmasknet.evaluation.lesion_files import read_lesions
from ctmasknet.evaluation.lesion_report import (
    LesionReportSettings,
    measure_lesions,
    report_lesions,
)
from ctmasknet.evaluation.metric_names import metric_suffix
from ctmasknet.evaluation.text import describe
from ctmasknet.wording import NOTICE

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

QUICK = LesionReportSettings(resamples=20)
LESION, FOUND = (1, 0, 0, 0, 20, 20), (1, 0, 0.9, 0, 0, 20, 20)


@pytest.fixture
def made(lesion_set, random_lesions):
    lesions, found = random_lesions(seed=2, images=24, classes=2)
    patients = [f"p{i // 3}" for i in range(24)]
    return lesion_set(lesions, found, images=24, classes=("GGO", "C"), patients=patients)


def test_a_report(made, tmp_path):
    about = {"model": "m", "dataset": {"name": "d"}}
    results = report_lesions(made, tmp_path / "out", QUICK, about)
    assert results == json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["kind"] == "lesions" and results["model"] == "m"
    assert results["classes"] == ["GGO", "C"]
    lesions = [x["category_id"] for x in made.truth.dataset["annotations"]]
    assert results["dataset"] == {
        "name": "d",
        "fingerprint": made.fingerprint(),
        "images": 24,
        "lesion_images": len({x["image_id"] for x in made.truth.dataset["annotations"]}),
        "patients": 8,
        "lesions": {"GGO": lesions.count(1), "C": lesions.count(2)},
    }
    assert list(results["metrics"]) == ["bbox", "segm", "per_image_ap", "froc", "pixel"]
    found = results["intervals"]
    assert (found["unit"], found["resamples"], found["seed"]) == ("patient", 20, 0)
    assert list(found["values"]) == ["bbox", "segm", "per_image_ap", "froc", "pixel"]
    for task in ("bbox", "segm"):  # no intervals of areas
        assert set(found["values"][task]) == {
            *("AP", "AP50", "AP75", "AP_GGO", "AP50_GGO", "AP_C", "AP50_C")
        }
    for task, values in found["values"].items():
        for name, interval in values.items():
            assert interval["value"] == pytest.approx(results["metrics"][task][name])
    assert set(found["values"]["pixel"]) | {
        f"images_empty_{name}" for name in ("lesion", "GGO", "C")
    } == set(results["metrics"]["pixel"])
    assert set(results["curves"]) == {"froc", "froc_GGO", "froc_C", "precision_recall"}
    assert results["settings"]["resamples"] == 20
    (warning,) = results["warnings"]
    assert warning.startswith("8 patients only")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *("results.json", "per_image.csv", "ground_truth.json", "coco_instances_results.json"),
        *("froc.png", "precision_recall.png", "bland_altman.png"),
    }
    header = (tmp_path / "out" / "per_image.csv").read_text().splitlines()[0]
    assert header.startswith("image_id,file_name,patient,scan,AP50,AP75,mAP,true_px_lesion")


def test_a_report_can_be_made_again_from_its_files(made, tmp_path, no_figures):
    first = report_lesions(made, tmp_path / "out", QUICK, {})
    detections = tmp_path / "out" / "coco_instances_results.json"
    before = detections.stat().st_mtime_ns
    again = read_lesions(tmp_path / "out" / "ground_truth.json", [detections])
    second = report_lesions(again, tmp_path / "out", QUICK, {})
    assert second == first
    assert detections.stat().st_mtime_ns == before  # read from there, not written


def test_one_of_several_files_of_detections_is_not_overwritten(write_lesions, tmp_path):
    truth, detections = write_lesions([LESION], [FOUND])
    own = tmp_path / "coco_instances_results.json"
    own.write_text("[]")
    made = read_lesions(truth, [detections, own])
    with pytest.raises(ValueError, match="coco_instances_results.json is one of several files"):
        report_lesions(made, tmp_path, QUICK, {})
    assert own.read_text() == "[]"


@pytest.mark.parametrize(
    ("lesions", "detections", "images", "metrics"),
    [
        ([LESION], [], 2, {"segm/AP": 0, "froc/sensitivity_mean": 0, "pixel/dice_lesion": 0}),
        ([], [(1, *FOUND[1:])], 2, {"segm/AP": None, "per_image_ap/mAP": 0.5}),
        ([], [], 2, {"segm/AP": None, "froc/sensitivity_1_fp": None, "per_image_ap/mAP": 1}),
        ([LESION], [FOUND], 1, {"segm/AP": 100, "pixel/area_loa_low_lesion": None}),
        ([LESION], [(2, *FOUND[1:])], 2, {"bbox/AP50": 0, "pixel/precision_lesion": 0}),
    ],
    ids=["no detections", "no lesions", "neither", "one image", "only in lesion-free images"],
)
def test_degenerate_sets(lesion_set, tmp_path, lesions, detections, images, metrics):
    made = lesion_set(lesions, detections, images=images)
    results = report_lesions(made, tmp_path / "out", QUICK, {})
    for name, expected in metrics.items():
        task, metric = name.split("/")
        assert results["metrics"][task][metric] == (
            expected if expected is None else pytest.approx(expected)
        )
    for name in ("froc", "precision_recall", "bland_altman"):
        with Image.open(tmp_path / "out" / f"{name}.png") as figure:
            assert np.asarray(figure.convert("L")).min() < 128
    text = describe(results)
    assert NOTICE in text and "silent_detector" in text and "nan" not in text
    assert results["intervals"]["unit"] == "slice" and results["dataset"]["patients"] is None
    assert results["warnings"][0].startswith("no patient ids: ")


def test_boxes_only(write_lesions, tmp_path, no_figures):
    truth, detections = write_lesions([LESION], [FOUND], patients=["a"])
    found = json.loads(detections.read_text())
    del found[0]["segmentation"]
    detections.write_text(json.dumps(found))
    made = read_lesions(truth, [detections])
    results = report_lesions(made, tmp_path / "out", QUICK, {})
    assert list(results["metrics"]) == ["bbox", "froc"]
    assert list(results["intervals"]["values"]) == ["bbox", "froc"]
    assert results["metrics"]["bbox"]["AP"] == pytest.approx(100)
    assert results["warnings"][0].startswith("boxes only: ")
    assert not (tmp_path / "out" / "per_image.csv").exists()
    assert "COCO AP of boxes" in describe(results)


def test_a_model_without_masks_that_finds_nothing(write_lesions, tmp_path, no_figures):
    truth, detections = write_lesions([LESION])
    made = read_lesions(truth, [detections], masks=False)
    assert list(report_lesions(made, tmp_path, QUICK, {})["metrics"]) == ["bbox", "froc"]


def test_figures_of_many_classes_name_and_colour_each(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(lesion_figures, "save_figure", lambda figure, path: drawn.append(figure))
    names = ["crazy-paving", "$100$", *(f"class {i}" for i in range(9))]
    curves = {f"froc_{metric_suffix(name)}": [[0, 0], [1, 0.5]] for name in names}
    curves = {"froc": [[0, 0], [1, 0.5]], **curves}
    lesion_figures.save_froc(tmp_path / "a.png", curves, names, 0.5, "bbox")
    (figure,) = drawn
    (ax,), (legend,) = figure.axes, figure.legends
    assert ax.get_title() == "FROC of boxes, a lesion is found at IoU of 0.5 or more"
    shown = [text.get_text().replace("\\$", "$") for text in legend.get_texts()]
    assert shown == ["any lesion", *names]
    looks = {(line.get_color(), line.get_linestyle()) for line in legend.get_lines()}
    assert len(looks) == len(shown)


def test_patients_that_are_known_in_part_are_warned_of(lesion_set, tmp_path, no_figures):
    made = lesion_set([LESION], images=3, patients=["a"])
    results = report_lesions(made, tmp_path, LesionReportSettings(resamples=0), {})
    assert results["warnings"][0].startswith("2 of the 3 images have no patient id: ")
    assert results["intervals"] is None
    assert "95 %" not in describe(results)


def test_text_shows_intervals_the_silent_detector_and_fits(made, tmp_path, no_figures):
    text = describe(report_lesions(made, tmp_path, QUICK, {}))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 110 and lines[-1] == NOTICE
    assert "24 images of 8 patients" in lines[0]
    assert "95 % by patients    by slices (naive)    design effect" in text
    assert "the papers' metric, not COCO's AP" in text
    assert "a detector that finds nothing gets" in text
    assert "mAP over the images with lesions is" in text


def test_settings_change_the_numbers(made):
    settings = LesionReportSettings(
        score_thresh=0.2,
        min_area=400,
        iou_thresholds=(0.5,),
        pixel_score_thresh=0.1,
        froc_iou=0.9,
    )
    usual, other = (
        {
            f"{task}/{name}": value
            for task, one in measure_lesions(made, x).items()
            for name, value in one.metrics().items()
        }
        for x in (QUICK, settings)
    )
    assert set(usual) - set(other) == {"per_image_ap/AP75", "per_image_ap/AP75_lesion_images"}
    changed = {name for name in other if other[name] != pytest.approx(usual[name], nan_ok=True)}
    assert {
        *("per_image_ap/AP50", "per_image_ap/silent_detector"),
        *("pixel/dice_lesion", "froc/sensitivity_mean"),
    } <= changed
    assert not any(name.startswith("segm/") for name in changed)


@pytest.mark.parametrize("bad", [{"froc_iou": 0}, {"iou_thresholds": ()}, {"resamples": -1}])
def test_settings_that_cannot_be(bad):
    with pytest.raises(ValueError, match="expected 0 < froc_iou <= 1, one threshold or more"):
        LesionReportSettings(**bad)


def test_a_model_compared_with_itself_does_not_differ(made):
    one, other = (measure_lesions(made, QUICK) for _ in range(2))
    for task, mine in one.items():
        both = difference(mine.statistic, other[task].statistic)
        found = intervals(both, mine.groups, resamples=10).values()
        assert found and all(x.low == x.high == 0 for x in found if not math.isnan(x.value))


def test_a_report_that_cannot_be_written_leaves_nothing_of_itself(
    made, tmp_path, no_figures, monkeypatch
):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ctmasknet.evaluation.lesion_report.write_per_image", full)
    with pytest.raises(OSError, match="No space left"):
        report_lesions(made, tmp_path / "out", QUICK, {})
    assert list((tmp_path / "out").iterdir()) == []
