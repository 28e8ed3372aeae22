"""Predicted scans against slice labels: hand-made results."""

import json

import numpy as np
import pytest

from ctmasknet.data.slice_labels import read_slice_labels
from ctmasknet.evaluation.scan_labels import judge_results, judge_scan


def result(areas, mm2=True, kind="scan"):
    slices = [
        {
            "file": f"/data/p1/{index}.dcm",
            "areas": {
                "GGO": {"px": 0, "mm2": 0.0},
                "any lesion": {"px": area, "mm2": area / 2 if mm2 else None},
            },
        }
        for index, area in enumerate(areas)
    ]
    lesions = {"any lesion": {"volume_ml": 3.0, "share_of_lung": 0.01}}
    return {"name": "p1", "kind": kind, "slices": slices, "quantities": {"lesions": lesions}}


def labels(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return read_slice_labels(path)


def test_areas_rank_infected_slices(tmp_path):
    known = labels(tmp_path, "file,infected\np1/0.dcm,0\np1/1.dcm,1\np1/2.dcm,0\np1/3.dcm,1\n")
    scan = judge_scan(result([0, 10, 4, 4, 99]), known)  # the fifth has no label
    assert scan.infected.tolist() == [False, True, False, True]
    assert scan.areas.tolist() == [0, 5, 2, 2]
    assert scan.auroc == pytest.approx(3.5 / 4)  # one of four pairs is a tie
    assert (scan.volume_ml, scan.share_of_lung) == (3.0, 0.01)
    assert judge_scan(result([0, 10, 4, 4], mm2=False), known).areas.tolist() == [0, 10, 4, 4]


def test_a_healthy_scan_has_no_auroc(tmp_path):
    known = labels(tmp_path, "file,infected\np1/0.dcm,0\np1/1.dcm,0\n")
    assert np.isnan(judge_scan(result([0, 10]), known).auroc)


def test_scans_alone_are_judged(tmp_path):
    for name, kind in (("a", "scan"), ("b", "slices")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(result([0, 10], kind=kind)))
    known = labels(tmp_path, "file,infected\np1/0.dcm,0\np1/1.dcm,1\n")
    assert [scan.auroc for scan in judge_results(tmp_path, known)] == [1.0]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("file,infected\np1/0.dcm,yes\n", "infected of p1/0.dcm is 'yes'"),
        ("name,infected\np1/0.dcm,1\n", "expected 'file'"),
        ("file,lesion\np1/0.dcm,1\n", "found the columns lesion, expected infected"),
        ("file,infected\np1/0.dcm,1\na/p1/0.dcm,0\n", "line 3: p1/0.dcm is listed a second"),
        ("file,infected\n", "found no slice"),
    ],
)
def test_labels_that_cannot_be_read(tmp_path, text, error):
    with pytest.raises(ValueError, match=error):
        labels(tmp_path, text)


def test_results_that_cannot_be_judged(tmp_path):
    with pytest.raises(ValueError, match="none of its slices has a label"):
        judge_scan(result([0]), {"p2/0.dcm": True})
    boxes = result([0])
    boxes["slices"][0]["areas"] = None
    with pytest.raises(ValueError, match="expected a model with masks"):
        judge_scan(boxes, {"p1/0.dcm": True})
    with pytest.raises(FileNotFoundError, match="holds no results of scans"):
        judge_results(tmp_path, {})
