"""Sensitivity for lesions in three dimensions and false positives per scan, by hand."""

import json

import numpy as np
import pycocotools.mask as mask_util
import pytest

from ctmasknet.evaluation.lesion_files import read_lesions
from ctmasknet.evaluation.lesion_report import LesionReportSettings, report_lesions
from ctmasknet.evaluation.scan_lesions import ScanLesionStatistic, ScanSet, group_scans
from ctmasknet.evaluation.text import describe

HERE, BESIDE, THERE, NOWHERE = (0, 0, 10, 10), (10, 0, 10, 10), (30, 0, 10, 10), (40, 30, 10, 10)


def rectangle(image, label, x, y, width, height):
    mask = np.zeros((48, 64), np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    rle = mask_util.encode(mask)
    rle["counts"] = rle["counts"].decode()
    return {"image_id": image, "category_id": label + 1, "segmentation": rle}


@pytest.fixture
def scans(tmp_path):
    """Write two scans of three slices each, images 1 to 3 and 4 to 6, and read them.

    Lesions are (image, class, x, y, width, height) and perhaps a lesion_id, detections have a score
    after the class. `change` changes the truth.
    """

    def make(lesions=(), detections=(), classes=("lesion",), change=lambda truth: None):
        images = [
            {"id": i, "file_name": f"{i}.png", "height": 48, "width": 64, "patient": f"p{scan}"}
            | {"scan": f"s{scan}", "slice_index": 10 + place}
            for i, (scan, place) in enumerate([(s, z) for s in (1, 2) for z in range(3)], start=1)
        ]
        annotations = [
            {**rectangle(*lesion[:6]), "id": i, "area": 100, "iscrowd": 0}
            | ({"lesion_id": lesion[6]} if len(lesion) > 6 else {})
            for i, lesion in enumerate(lesions, start=1)
        ]
        categories = [{"id": k, "name": name} for k, name in enumerate(classes, start=1)]
        truth = {"images": images, "annotations": annotations, "categories": categories}
        change(truth)
        found = [{**rectangle(i, k, *box), "score": score} for i, k, score, *box in detections]
        paths = tmp_path / "truth.json", tmp_path / "found.json"
        for path, content in zip(paths, (truth, found), strict=True):
            path.write_text(json.dumps(content))
        return read_lesions(paths[0], [paths[1]])

    return make


def values(lesions, score_thresh=0.5, weights=((1.0, 1.0),)):
    found = ScanLesionStatistic(group_scans(lesions), score_thresh)(np.array(weights))
    return {name: x.tolist() for name, x in found.items()}


def on_slices(images, *rest):
    return [(image, *rest) for image in images]


def test_outlines_on_three_slices_are_one_lesion(scans):
    """Of two lesions in the first scan and one in the second two are found, one of them by an
    outline on one slice of three; on the second scan there are two false positives."""
    truth = [
        *on_slices((1, 2, 3), 0, *HERE),
        *on_slices((1, 2), 0, *BESIDE),  # it touches
        *on_slices((4, 5), 0, *HERE),
    ]
    found = [
        *on_slices((1, 2, 3), 0, 0.9, *HERE),
        (5, 0, 0.8, *HERE),  # half of it
        *on_slices((4, 5, 6), 0, 0.7, *NOWHERE),
        (4, 0, 0.6, *THERE),
        (1, 0, 0.4, *BESIDE),  # below the threshold
    ]
    lesions = scans(truth, found)
    assert values(lesions) == {"sensitivity": [pytest.approx(2 / 3)], "fp_per_scan": [1.0]}
    assert values(lesions, 0.3) == {"sensitivity": [1.0], "fp_per_scan": [1.0]}
    # The second scan twice and the first not at all.
    assert values(lesions, weights=[[0, 2]]) == {"sensitivity": [1.0], "fp_per_scan": [2.0]}
    curve = ScanLesionStatistic(group_scans(lesions), 0.5).curve()
    assert curve[3] == [0.4, 1.0, 1.0] and curve[5] == [0.6, 1.0, pytest.approx(2 / 3)]
    assert curve[8] == [0.9, 0.0, pytest.approx(1 / 3)] and len(curve) == 9


@pytest.mark.parametrize(("width", "hit"), [(10, 1), (9, 0)])
def test_a_tenth_of_iou_finds_a_lesion(scans, width, hit):
    """Of 10 x 10 pixels on one slice, 10 x 1 lie in a detection of the same kind: IoU 0.1."""
    lesions = scans([(1, 0, 0, 0, 10, 10)], [(1, 0, 0.9, 0, 0, width, 1)])
    assert values(lesions) == {"sensitivity": [hit], "fp_per_scan": [(1 - hit) / 2]}


def test_each_lesion_is_found_once(scans):
    two = [(1, 0, 0.9, 0, 0, 10, 5), (1, 0, 0.8, 0, 5, 10, 5)]
    assert values(scans([(1, 0, *HERE)], two)) == {"sensitivity": [1.0], "fp_per_scan": [0.5]}
    both = [(1, 0, 0.9, 0, 0, 20, 10)]
    assert values(scans([(1, 0, *HERE), (1, 0, *BESIDE)], both))["sensitivity"] == [0.5]


def test_classes_apart_and_together(scans):
    truth = [*on_slices((1, 2), 0, *HERE), (4, 1, *HERE)]
    found = [*on_slices((1, 2), 1, 0.9, *HERE), (4, 1, 0.9, *HERE)]
    assert values(scans(truth, found, ("GGO", "C"))) == {
        "sensitivity": [0.5],
        "fp_per_scan": [0.5],
        "sensitivity_GGO": [0.0],
        "fp_per_scan_GGO": [0.0],
        "sensitivity_C": [1.0],
        "fp_per_scan_C": [0.5],
    }


def test_ids_of_the_truth_come_first(scans):
    """Two slices far from each other are one lesion if the truth says so, and not otherwise."""
    found = [(1, 0, 0.9, *HERE)]
    apart = [(1, 0, *HERE), (3, 0, *HERE)]
    assert values(scans(apart, found))["sensitivity"] == [0.5]
    one = [(*lesion, "a") for lesion in apart]
    assert values(scans(one, found))["sensitivity"] == [1.0]
    other_scan = [*one, (4, 0, *HERE, "a")]  # ids are those of a scan
    assert values(scans(other_scan, found))["sensitivity"] == [0.5]
    assert values(scans([one[0], apart[1]], found))["sensitivity"] == [0.5]  # one has none


def test_slices_that_were_left_out_are_no_neighbours(scans):
    def leave_out(truth):
        truth["images"][1]["slice_index"] = 20

    lesions = scans(on_slices((1, 2, 3), 0, *HERE), [(1, 0, 0.9, *HERE)], change=leave_out)
    assert values(lesions)["sensitivity"] == [1 / 3]


def test_nothing_to_find_and_nothing_found(scans):
    silent = scans([(1, 0, *HERE)])
    assert values(silent) == {"sensitivity": [0.0], "fp_per_scan": [0.0]}
    healthy = scans([], [(1, 0, 0.9, *HERE)])
    assert np.isnan(values(healthy)["sensitivity"]).all()
    assert values(healthy)["fp_per_scan"] == [0.5]
    assert ScanLesionStatistic(group_scans(healthy), 0.5).curve() == []


def without_places(truth):
    for image in truth["images"]:
        del image["slice_index"]


def without_a_scan(truth):
    del truth["images"][0]["scan"]


def one_place_twice(truth):
    truth["images"][0]["slice_index"] = 11


def another_size(truth):
    truth["images"][5]["height"] = 50


def a_crowd(truth):
    truth["annotations"][0]["iscrowd"] = 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_places, ""),
        (without_a_scan, "1 of the 6 images have no scan or slice_index"),
        (one_place_twice, "the scan s1 has two slices of one slice_index"),
        (another_size, "the slices of the scan s2 differ in size"),
        (a_crowd, "some lesions are marked as crowds"),
    ],
)
def test_without_scans_and_their_order_there_is_none(scans, tmp_path, change, reason):
    lesions = scans([(1, 0, *HERE)], change=change)
    assert group_scans(lesions) == reason
    results = report_lesions(lesions, tmp_path / "out", LesionReportSettings(resamples=0), {})
    assert "lesion_3d" not in results["metrics"] and "lesion_3d" not in results["curves"]
    assert any("lesions in three dimensions" in x for x in results["warnings"]) == bool(reason)


def test_a_place_is_a_whole_number(scans):
    def half(truth):
        truth["images"][2]["slice_index"] = 1.5

    with pytest.raises(ValueError, match=r"image .*slice_index is 1.5, expected a whole number"):
        scans(change=half)


def test_the_report_has_them_and_can_be_made_again(scans, tmp_path):
    truth = [*on_slices((1, 2), 0, *HERE, 7), *on_slices((4, 5), 0, *HERE, 7)]
    lesions = scans(truth, on_slices((1, 2), 0, 0.9, *HERE))
    out = tmp_path / "out"
    results = report_lesions(lesions, out, LesionReportSettings(resamples=20), {})
    assert results["metrics"]["lesion_3d"] == {"sensitivity": 0.5, "fp_per_scan": 0.0}
    interval = results["intervals"]["values"]["lesion_3d"]["sensitivity"]
    assert (interval["low"], interval["high"]) == (0.0, 1.0)
    assert results["curves"]["lesion_3d"][0] == [0.1, 0.0, 0.5]
    text = describe(results)
    assert "lesions in three dimensions (lesion_3d)" in text and "fp_per_scan" in text
    again = read_lesions(out / "ground_truth.json", [out / "coco_instances_results.json"])
    assert isinstance(group_scans(again), ScanSet) and values(again) == values(lesions)
    assert [image.true_lesions for image in again.images[:2]] == [["7"], ["7"]]
