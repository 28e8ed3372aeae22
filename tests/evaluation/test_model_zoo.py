import json
from pathlib import Path

import pytest

from ctmasknet.evaluation.model_zoo import find_evaluations, zoo_page
from ctmasknet.evaluation.results import write_results

ROOT = Path(__file__).parents[2]


def interval(value, low, high):
    return {"value": value, "low": low, "high": high}


def lesion_results(folder, model="R18_T1", unit="patient"):
    metrics = {
        "segm": {"AP": 41.25, "AP50": 60.0},
        "bbox": {"AP50": None},
        "per_image_ap": {"mAP": 0.33, "silent_detector": 0.25, "mAP_lesion_images": 0.11},
        "pixel": {"dice_lesion": 0.5},
    }
    values = {"segm": {"AP50": interval(60.0, 55.0, 64.96)}}
    write_results(
        folder / "results.json",
        metrics,
        kind="lesions",
        classes=["GGO", "C"],
        model=model,
        weights_sha256="0123456789abcdef",
        dataset={"name": "medseg", "images": 1050},
        intervals={"unit": unit, "values": values},
    )


def image_results(folder):
    image = {"accuracy": 0.9, "sensitivity_COVID_19": 0.8, "auroc_macro": 0.99, "ece": 0.031}
    write_results(
        folder / "results.json",
        {"image": image, "scan": {"accuracy": 1.0}},
        kind="images",
        classes=["Control", "COVID-19"],
        model=None,
        dataset={"name": "slices", "images": 20},
        intervals=None,
    )


def test_page(tmp_path):
    lesion_results(tmp_path / "b" / "inference" / "medseg")
    lesion_results(tmp_path / "a" / "inference" / "medseg", model="R18", unit="slice")
    image_results(tmp_path / "c")
    write_results(tmp_path / "b" / "results.json", {"medseg": {}})  # of the run: left out
    found = find_evaluations([tmp_path])
    assert [results["model"] for _, results in found] == [None, "R18", "R18_T1"]
    page = zoo_page(found, "ctmasknet compare x")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("|") and "---" not in line
    ]
    head, by_slice, by_patient = rows[:3]
    assert by_patient[:3] == ["R18_T1", "medseg", "1,050"] and by_patient[-1] == "`0123456789ab`"
    cells = dict(zip(head, by_patient, strict=True))
    assert cells["mask AP"] == "41.2" and cells["mask AP50"] == "60.0 (55.0 to 65.0)"
    assert cells["box AP50"] == "-" and cells["per-image mAP"] == "33.0"
    assert cells["sensitivity at 1 FP"] == "-"
    assert dict(zip(head, by_slice, strict=True))["mask AP50"] == "60.0 (55.0 to 65.0)*"
    cells = dict(zip(*rows[3:], strict=True))
    assert cells["model"] == "(predictions)" and cells["weights"] == ""
    assert cells["accuracy"] == "90.0" and cells["sensitivity COVID-19"] == "80.0"
    assert cells["scan accuracy"] == "100.0" and cells["patient accuracy"] == "-"
    assert "`ctmasknet compare x`" in page and "Research use only" in page


def test_command(tmp_path, command):
    image_results(tmp_path / "run")
    _, printed, _ = command("compare", tmp_path / "run", "--table", "-")
    assert "| (predictions) | slices | 20 |" in printed
    _, said, _ = command("compare", tmp_path / "run", "--table", tmp_path / "ZOO.md")
    page = (tmp_path / "ZOO.md").read_text()
    assert page.split("\n\n")[2:] == printed.split("\n\n")[2:]  # but for the command
    assert said == f"{tmp_path / 'ZOO.md'}: 1 evaluation\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a",), "1 result to compare, expected two; or give --table FILE.md"),
        (("a", "b", "c"), "3 results to compare"),
        (("a", "b", "--table", "t.md", "--seed", 3), "--seed: is for two models"),
    ],
)
def test_neither_two_nor_a_table(command, arguments, message):
    code, _, error = command("compare", *arguments)
    assert code == 2 and error.startswith(f"error: {message}")


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder"):
        find_evaluations([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match=r"found no results\.json of a data set; a training"):
        find_evaluations([tmp_path])
    (tmp_path / "results.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(ValueError, match="not a results file"):
        find_evaluations([tmp_path])
    (tmp_path / "results.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"results\.json: not JSON"):
        find_evaluations([tmp_path])
