"""result.json, lesions.csv, outlines.csv and ranked_boxes.csv: their numbers."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from ctmasknet.inference.predictions import (
    Classification,
    Instance,
    RankedBoxTable,
    ScanPrediction,
    SlicePrediction,
)
from ctmasknet.quantification.case import Case
from ctmasknet.quantification.lesion_measures import Lesion
from ctmasknet.quantification.quantify import Quantities, severity
from ctmasknet.report.tables import (
    result_json,
    write_lesions,
    write_outlines,
    write_ranked_boxes,
    write_result,
)
from ctmasknet.wording import NOTICE

CLASSES = ("Control", "COVID-19")
LESION = Instance("GGO", np.float32(0.9), (1.0, 1.5, 3.0, 3.25), {}, 4, 1.0)
IN_3D = Lesion(
    *(1, "GGO", 0.9, 4, 0.0025, 1.4142136, 0, 0, 0, -612.25, -700.0, "left", "left upper"),
)
ABOUT = {"versions": {"ctmasknet": "1"}}


def a_slice(instances=(), source="", logits=None):
    """Of 4 x 5 pixels of 0.5 mm; with logits also classified, from two ranked boxes."""
    classification = ranked = None
    if logits is not None:
        probabilities = np.exp(logits) / np.exp(logits).sum()
        classification = Classification(CLASSES, probabilities, np.array(logits))
        ranked = RankedBoxTable(
            rows=np.zeros((8, 6), np.float32),
            boxes=np.array([[0, 1, 2, 3], [1, 1, 4.5, 4]], np.float32),
            scores=np.array([0.8, 0.1], np.float32),
            lesion_classes=("GGO", "C"),
            contributions=np.array([[-0.5, 0.25], [0, 0.125]], np.float32),
        )
    return SlicePrediction(
        (4, 5), ("GGO", "C"), tuple(instances), True, classification, ranked, (0.5, 0.5), source
    )


def quantities(**changes):
    """Of two slices, the first with four pixels of GGO, half of them in the lung."""
    values = {
        "names": ("GGO", "C", "any lesion"),
        "instances": np.array([[1, 0, 1], [0, 0, 0]]),
        "areas_px": np.array([[4, 0, 4], [0, 0, 0]]),
        "pixel_mm2": np.array([0.25, 0.25]),
        "lesions": (IN_3D,),
        "lesion_ids": ((1,), ()),
        "volumes_ml": np.array([0.0025, 0, 0.0025]),
        "lung_px": np.array([8, 12]),
        "lung_method": "threshold",
        "lung_volume_ml": 0.0125,
        "lung_lesion_px": np.array([[2, 0, 2], [0, 0, 0]]),
        **changes,
    }
    return Quantities(**values)


NOTHING_KNOWN = {
    "areas_px": None,
    "pixel_mm2": np.array([np.nan, np.nan]),
    "lesions": None,
    "lesion_ids": (),
    "volumes_ml": None,
    "lung_px": None,
    "lung_method": "",
    "lung_volume_ml": None,
    "lung_lesion_px": None,
}


def a_scan(slices, spacing=(2.5, 0.5, 0.5), **changes):
    scan = ScanPrediction(
        tuple(slices),
        "scan.zip",
        "p7",
        "1.2.3",
        spacing,
        Classification(CLASSES, np.array([0.25, 0.75])),
    )
    return Case(
        "p7", "scan.zip", scan.slices, scan, None, quantities(**changes), ABOUT, ("a note",)
    )


def classified():
    return a_scan([a_slice([LESION], "a.dcm", [0.0, np.log(3)]), a_slice([], "b.dcm", [0.0, 0.0])])


def loose(instances=(), **changes):
    pictures = (a_slice(instances, "über/a,b.png"), a_slice())
    changes = {
        "lesions": None,
        "lesion_ids": (),
        "volumes_ml": None,
        "lung_volume_ml": None,
        **changes,
    }
    return Case("x", "folder", pictures, None, None, quantities(**changes), ABOUT)


def read_csv(path):
    assert b"\r" not in path.read_bytes()
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_result_of_a_classified_scan():
    result = result_json(classified())
    assert result["notice"] == NOTICE
    assert (result["name"], result["input"], result["kind"]) == ("p7", "scan.zip", "scan")
    assert (result["patient"], result["scan"]) == ("p7", "1.2.3")
    assert result["spacing_mm"] == {"z": 2.5, "y": 0.5, "x": 0.5}
    assert result["class"] == "COVID-19" and result["aggregation"] == "mean"
    assert result["probabilities"] == {"Control": 0.25, "COVID-19": 0.75}
    assert result["notes"] == ["a note"] and result["about"] == ABOUT
    assert result["quantities"] == {
        "lesions": {
            name: {
                "instances": count,
                "area_px": 4 * count,
                "area_mm2": 1.0 * count,
                "lesions_3d": count,
                "volume_ml": 0.0025 * count,
                "share_of_lung": 0.1 * count,
            }
            for name, count in (("GGO", 1), ("C", 0), ("any lesion", 1))
        },
        "lung_method": "threshold",
        "lung_volume_ml": 0.0125,
        "severity": severity(0.1),
        "lobes": None,
        "ct_score": None,
    }
    assert result["lesions"] == [
        {
            "lesion_id": 1,
            "class": "GGO",
            "score": 0.9,
            "voxels": 4,
            "volume_ml": 0.0025,
            "diameter_mm": 1.414214,
            "largest_slice": 0,
            "first_slice": 0,
            "last_slice": 0,
            "mean_hu": -612.25,
            "min_hu": -700.0,
            "side": "left",
            "lobe": "left upper",
        }
    ]
    first, second = result["slices"]
    assert first == {
        "index": 0,
        "file": "a.dcm",
        "position_mm": 0.0,
        "size": [4, 5],
        "searched": True,
        "field": None,
        "class": "COVID-19",
        "probabilities": {"Control": 0.25, "COVID-19": 0.75},
        "logits": {"Control": 0.0, "COVID-19": 1.098612},
        "lesions": [
            {
                "class": "GGO",
                "score": 0.9,
                "box": [1.0, 1.5, 3.0, 3.25],
                "area_px": 4,
                "area_mm2": 1.0,
                "lesion_id": 1,
            }
        ],
        "areas": {
            "GGO": {"px": 4, "mm2": 1.0},
            "C": {"px": 0, "mm2": 0.0},
            "any lesion": {"px": 4, "mm2": 1.0},
        },
        "lung_px": 8,
        "share_of_lung": {"GGO": 0.25, "C": 0.0, "any lesion": 0.25},
    }
    assert second["index"] == 1 and second["position_mm"] == 2.5 and second["lesions"] == []
    assert second["lung_px"] == 12


def test_what_is_unknown_is_null_and_never_nan(tmp_path):
    bare = Instance("C", 0.5, (0.0, 0.0, 1.0, float("nan")))
    case = a_scan([a_slice([bare]), a_slice()], None, **NOTHING_KNOWN)
    write_result(tmp_path / "result.json", case)
    result = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    assert result["spacing_mm"] is None
    assert result["quantities"]["lesions"]["C"] == {
        "instances": 0,
        "area_px": None,
        "area_mm2": None,
        "lesions_3d": None,
        "volume_ml": None,
        "share_of_lung": None,
    }
    assert result["quantities"]["severity"] is None and result["quantities"]["lung_method"] is None
    first = result["slices"][0]
    assert first["lesions"][0]["box"] == [0.0, 0.0, 1.0, None]
    for key in ("file", "position_mm", "class", "probabilities", "logits", "areas", "lung_px"):
        assert first[key] is None, key


def test_lobes_have_shares_and_scores():
    """Of voxels of 0.625 mm3: 8 in each lobe; 2 of the first and all of the last are lesion."""
    lesion = np.array([[2, 0, 2], [0, 0, 0], [0, 0, 0], [0, 0, 0], [3, 5, 8]])
    case = a_scan([a_slice([LESION]), a_slice()], lobe_px=np.full(5, 8), lobe_lesion_px=lesion)
    found = result_json(case)["quantities"]
    assert found["lobes"]["left upper"] == {
        "volume_ml": 0.005,
        "share_of_lobe": {"GGO": 0.25, "C": 0.0, "any lesion": 0.25},
        "score": 2,
    }
    assert [lobe["score"] for lobe in found["lobes"].values()] == [2, 0, 0, 0, 5]
    assert found["ct_score"] == 7


def test_a_lung_of_nothing_has_no_share():
    nothing = {"lung_px": np.zeros(2, int), "lung_lesion_px": np.zeros((2, 3), int)}
    result = result_json(a_scan([a_slice([LESION]), a_slice()], **nothing))
    assert result["quantities"]["lesions"]["any lesion"]["share_of_lung"] is None
    assert result["quantities"]["severity"] is None


def test_area_in_mm2_is_null_where_one_slice_has_none():
    result = result_json(loose(pixel_mm2=np.array([0.25, np.nan])))
    assert result["quantities"]["lesions"]["GGO"]["area_px"] == 4
    assert result["quantities"]["lesions"]["GGO"]["area_mm2"] is None
    assert result["slices"][0]["areas"]["GGO"]["mm2"] == 1.0
    assert result["slices"][1]["areas"]["GGO"] == {"px": 0, "mm2": None}


def test_single_slices_belong_to_no_scan(tmp_path):
    result = result_json(loose([LESION]))
    assert result["kind"] == "slices"
    for key in (
        "patient",
        "scan",
        "spacing_mm",
        "class",
        "probabilities",
        "aggregation",
        "lesions",
    ):
        assert result[key] is None, key
    assert result["slices"][0]["lesions"][0]["lesion_id"] is None
    assert result["slices"][0]["file"] == "über/a,b.png"
    assert result["slices"][1]["position_mm"] is None and result["slices"][1]["file"] is None
    assert result["quantities"]["lesions"]["GGO"]["lesions_3d"] is None


def test_result_reads_back_as_it_was(tmp_path):
    for case in (classified(), loose([LESION])):
        write_result(tmp_path / "r.json", case)
        text = (tmp_path / "r.json").read_text(encoding="utf-8")
        assert json.loads(text) == result_json(case)
        assert "\\u" not in text and text.endswith("}\n")


def test_a_line_for_each_lesion_of_a_scan(tmp_path):
    bare = Lesion(2, "C", 0.5, 3, None, None, 1, 0, 1, None, None, None, None)
    write_lesions(tmp_path / "lesions.csv", [IN_3D, bare])
    assert (tmp_path / "lesions.csv").read_text().splitlines() == [
        "lesion_id,class,score,voxels,volume_ml,diameter_mm,largest_slice,first_slice,last_slice,"
        "mean_hu,min_hu,side,lobe",
        "1,GGO,0.9,4,0.0025,1.414214,0,0,0,-612.25,-700.0,left,left upper",
        "2,C,0.5,3,,,1,0,1,,,,",
    ]


def test_a_line_for_each_outline(tmp_path):
    second = Instance("C", 0.123456789, (0.0, 0.0, 1.0, 2.0), None, None, None)
    slices = [a_slice([LESION, second], "a,1.dcm"), a_slice([second], "b.dcm")]
    write_outlines(tmp_path / "outlines.csv", a_scan(slices, lesion_ids=((1, 0), (2,))))
    rows = read_csv(tmp_path / "outlines.csv")
    assert rows[0] == {
        "slice": "0",
        "file": "a,1.dcm",
        "position_mm": "0.0",
        "class": "GGO",
        "score": "0.9",
        "x0": "1.0",
        "y0": "1.5",
        "x1": "3.0",
        "y1": "3.25",
        "area_px": "4",
        "area_mm2": "1.0",
        "lesion_id": "1",
    }
    assert [(row["slice"], row["position_mm"], row["score"]) for row in rows[1:]] == [
        ("0", "0.0", "0.123457"),
        ("1", "2.5", "0.123457"),
    ]
    assert rows[2]["area_px"] == rows[2]["area_mm2"] == ""
    # Covered by others, an outline has no lesion of its own.
    assert [row["lesion_id"] for row in rows] == ["1", "", "2"]


def test_without_lesions_the_header_stands_alone(tmp_path):
    write_outlines(tmp_path / "new" / "lesions.csv", loose())
    text = (tmp_path / "new" / "lesions.csv").read_text()
    assert text == "slice,file,position_mm,class,score,x0,y0,x1,y1,area_px,area_mm2\n"


def test_a_line_for_each_ranked_box(tmp_path):
    write_ranked_boxes(tmp_path / "ranked_boxes.csv", classified())
    lines = (tmp_path / "ranked_boxes.csv").read_text().splitlines()
    assert lines == [
        "slice,file,rank,lesion_class,score,x0,y0,x1,y1,contribution_Control,contribution_COVID-19",
        "0,a.dcm,1,GGO,0.8,0.0,1.0,2.0,3.0,-0.5,0.25",
        "0,a.dcm,2,C,0.1,1.0,1.0,4.5,4.0,0.0,0.125",
        "1,b.dcm,1,GGO,0.8,0.0,1.0,2.0,3.0,-0.5,0.25",
        "1,b.dcm,2,C,0.1,1.0,1.0,4.5,4.0,0.0,0.125",
    ]


def test_weights_of_an_image_head_stand_beside_its_contributions(tmp_path):
    case = classified()
    weighed = [
        replace(x, ranked_boxes=replace(x.ranked_boxes, attention=np.array([0.75, 0.25])))
        for x in case.slices
    ]
    write_ranked_boxes(tmp_path / "ranked_boxes.csv", replace(case, slices=tuple(weighed)))
    rows = read_csv(tmp_path / "ranked_boxes.csv")
    assert [row["attention"] for row in rows] == ["0.75", "0.25"] * 2
    assert rows[0]["contribution_COVID-19"] == "0.25"


def test_a_lesion_model_has_no_ranked_boxes(tmp_path):
    with pytest.raises(ValueError, match="folder: found no ranked boxes.*use a CT-Mask-Net"):
        write_ranked_boxes(tmp_path / "ranked_boxes.csv", loose())
    assert list(tmp_path.iterdir()) == []
