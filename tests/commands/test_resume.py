"""`ctmasknet predict` into a folder that holds results, and interrupted."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from prediction_files import result_of, written

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


def test_resume_skips_what_is_done_and_only_that(predict, slices, scan, tmp_path):
    predict(slices, scan)
    out = tmp_path / "out"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("report.html")}
    shutil.rmtree(out / "scan")
    code, printed, _ = predict(slices, scan, options=["--resume"])
    assert code == 0 and "2 of 2 predicted, 1 of them before" in printed
    after = {path: path.stat().st_mtime_ns for path in out.rglob("report.html")}
    assert after[out / "slices" / "report.html"] == before[out / "slices" / "report.html"]
    assert after[out / "scan" / "report.html"] > before[out / "scan" / "report.html"]
    # With another setting, or a changed input, nothing is done yet.
    _, printed, _ = predict(slices, scan, options=["--resume", "--window", "mediastinum"])
    assert "before" not in printed
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(slices / "more.png")
    _, printed, _ = predict(slices, scan, options=["--resume", "--window", "mediastinum"])
    assert "1 of them before" in printed
    assert len(result_of(out / "slices")["slices"]) == 3


def test_resume_knows_other_weights(predict, runs, slices, tmp_path):
    predict(slices)
    other = tmp_path / "other"
    shutil.copytree(runs.lesion, other)
    content = torch.load(other / "model_best.pth")
    torch.save({**content, "iteration": 1}, other / "model_best.pth")
    _, printed, _ = predict(slices, options=["--resume"], lesion_model=other)
    assert "before" not in printed


@pytest.mark.parametrize(
    "change",
    [
        ["--opts", "MODEL.RPN.POST_NMS_TOPK_TEST", "20"],
        ["--as-scan"],
        ["--no-lung"],
        ["--aggregation", "max"],
    ],
)
def test_resume_knows_other_settings(predict, slices, change):
    predict(slices)
    _, printed, _ = predict(slices, options=["--resume", *change])
    assert "before" not in printed
    _, printed, _ = predict(slices, options=["--resume", *change])
    assert "1 of them before" in printed


def test_resume_knows_another_lung_mask(predict, slices, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    lung = np.ones((80, 100), np.uint8)
    for name in ("grey", "colour"):
        Image.fromarray(lung).save(masks / f"{name}.png")
        (masks / f"{name}.json").write_text("{}")
    code, *_ = predict(slices, options=["--lung", masks])
    assert code == 0
    found = result_of(tmp_path / "out" / "slices")
    assert [x["lung_px"] for x in found["slices"]] == [8000, 8000]
    assert all(0 <= x["share_of_lung"]["lesion"] <= 1 for x in found["slices"])
    assert found["quantities"]["lesions"]["lesion"]["share_of_lung"] is None  # of no one lung
    assert found["quantities"]["severity"] is None
    lung[:40] = 0
    Image.fromarray(lung).save(masks / "grey.png")
    _, printed, _ = predict(slices, options=["--resume", "--lung", masks])
    assert "before" not in printed
    found = result_of(tmp_path / "out" / "slices")
    assert sorted(x["lung_px"] for x in found["slices"]) == [4000, 8000]


def test_resume_lists_bad_files_again(predict, slices):
    (slices / "half.png").write_bytes(b"no image")
    assert predict(slices)[0] == 2
    code, printed, errors = predict(slices, options=["--resume"])
    assert code == 2 and "1 of them before" in printed and "half.png" in errors[0]


def test_results_are_not_lost_unasked(predict, slices, tmp_path):
    predict(slices)
    before = (tmp_path / "out" / "slices" / "result.json").read_bytes()
    code, _, errors = predict(slices)
    assert code == 2 and "holds results already" in errors[0]
    assert (tmp_path / "out" / "slices" / "result.json").read_bytes() == before
    code, *_ = predict(slices, options=["--overwrite"])
    assert code == 0
    shutil.rmtree(tmp_path / "out" / "slices")
    (tmp_path / "out" / "slices").mkdir()
    (tmp_path / "out" / "slices" / "mine.txt").write_text("mine")
    code, _, errors = predict(slices, options=["--overwrite"])
    assert code == 2 and "holds no result.json" in errors[0]
    assert (tmp_path / "out" / "slices" / "mine.txt").exists()


def test_an_interrupted_run_keeps_what_is_done(predict, slices, scan, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr("ctmasknet.inference.predictor.Predictor.predict_volume", stop)
        code, printed, _ = predict(slices, scan)
    assert code == 130 and "go on with --resume" in printed
    assert written(tmp_path / "out")[-1] == "summary.csv"
    assert not list((tmp_path / "out").glob(".*"))
    _, printed, _ = predict(slices, scan, options=["--resume"])
    assert "2 of 2 predicted, 1 of them before" in printed


def test_what_cannot_be_written_does_not_stop_the_others(predict, slices, scan, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ctmasknet.report.case_files.write_slice_masks", full)
    code, printed, errors = predict(slices, scan)
    assert code == 2 and "1 of 2 predicted" in printed and "No space left" in errors[0]


def test_the_command_is_recorded_as_it_was_given(predict, slices, tmp_path):
    predict(slices)
    command = result_of(tmp_path / "out" / "slices")["about"]["command"]
    assert command.startswith("ctmasknet predict ") and str(slices) in command


def test_a_summary_of_all_that_is_in_the_folder(predict, slices, scan, tmp_path):
    predict(slices)
    predict(scan)
    lines = (tmp_path / "out" / "summary.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["name", "scan", "slices"]
