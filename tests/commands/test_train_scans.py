"""`ctmasknet train-scans`, and what reads its file."""

import json

import pytest

pytestmark = pytest.mark.slow  # commands

HEAD = "file_name,patient,scan,label,prob_0,prob_1\n"


def predictions(path, count=12):
    """Scans of three slices; of class 1 has one slice that is likely so."""
    rows = [
        f"{path.stem}{scan}_{z}.png,{path.stem}{scan},S,{scan % 2},{1 - p:.2f},{p:.2f}\n"
        for scan in range(count)
        for z, p in enumerate((0.1, 0.8 if scan % 2 else 0.15, 0.2))
    ]
    path.write_text(HEAD + "".join(rows))
    return path


def test_a_head_is_trained_and_used_by_evaluate(command, tmp_path):
    val, test = predictions(tmp_path / "val.csv"), predictions(tmp_path / "test.csv")
    head, out = tmp_path / "scan_head.json", tmp_path / "out"
    code, printed, errors = command("train-scans", val, "--pool", "max", "--output", head)
    assert code == 0, errors
    assert "max_head trained on 12 scans" in printed and "mean: balanced accuracy 50.0%" in printed
    code, _, errors = command(
        *("evaluate", "--predictions", test, "--rule", head, "--output", out, "--resamples", 0)
    )
    assert code == 0, errors
    results = json.loads((out / "results.json").read_text())
    assert results["metrics"]["scan"]["accuracy"] == 1
    assert results["aggregation"]["rule"] == "max_head"
    code, _, errors = command(
        *("evaluate", "--predictions", val, "--rule", head, "--output", tmp_path / "no")
    )
    assert code == 2 and "trained on the reported slices" in errors


def test_the_output_is_a_json(command, tmp_path):
    val = predictions(tmp_path / "val.csv")
    code, _, errors = command("train-scans", val, "--output", tmp_path / "head.pth")
    assert code == 2 and "expected a file .json" in errors
