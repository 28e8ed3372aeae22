"""`ctmasknet predict` on good and on bad inputs."""

import csv
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from prediction_files import result_of, written

from ctmasknet.__main__ import main
from ctmasknet.data.images import read_mask
from ctmasknet.volumes.volume import upright_volume
from ctmasknet.volumes.volume_files import read_volume, write_volume

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


def assert_close(a, b):
    """Formats keep the spacing with 32 or 64 bits."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_close(a[key], b[key])
    elif isinstance(a, list):
        for x, y in zip(a, b, strict=True):
            assert_close(x, y)
    else:
        assert a == (pytest.approx(b, rel=1e-6) if isinstance(b, float) else b)


def test_a_folder_of_slices(predict_and_report, slices, tmp_path):
    code, printed, errors = predict_and_report(slices)
    assert (code, errors) == (0, [])
    assert "Research use only" in printed and "1 of 1 predicted" in printed
    out = tmp_path / "out"
    assert written(out) == [
        "slices/labels.csv",
        "slices/lesions.csv",
        "slices/masks/colour.png",
        "slices/masks/grey.png",
        "slices/overlays/colour.png",
        "slices/overlays/grey.png",
        "slices/ranked_boxes.csv",
        "slices/report.html",
        "slices/result.json",
        "summary.csv",
    ]
    result = result_of(out / "slices")
    assert result["kind"] == "slices" and "not for diagnosis" in result["notice"]
    assert [x["size"] for x in result["slices"]] == [[80, 100]] * 2
    for found in result["slices"]:
        assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert found["lesions"] and all(x["area_px"] >= 0 for x in found["lesions"])
    mask = read_mask(out / "slices" / "masks" / "grey.png")
    assert mask.shape == (80, 100) and set(np.unique(mask)) <= {0, 1}
    overlay = Image.open(out / "slices" / "overlays" / "grey.png")
    # Enlarged by 7, with a strip of two lines above.
    assert overlay.width == 700 and 20 < overlay.height - 7 * 80 < 60


def test_the_viewer_of_a_scan_can_be_left_out(predict_and_report, scan, tmp_path):
    assert predict_and_report(scan)[0] == 0
    report = tmp_path / "out" / "scan" / "report.html"
    assert 'id="scan-data"' in report.read_text(encoding="utf-8")
    assert predict_and_report(scan, options=("--no-viewer", "--overwrite"))[0] == 0
    assert "<script" not in report.read_text(encoding="utf-8")


def test_a_scan_in_every_format_has_one_answer(predict, scan, tmp_path):
    volume = read_volume(scan)
    for suffix in (".nii.gz", ".mha", ".nrrd"):
        write_volume(volume, tmp_path / f"copy{suffix}")
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        for path in scan.iterdir():
            archive.write(path, f"inside/{path.name}")
    copies = [tmp_path / f"copy{suffix}" for suffix in (".nii.gz", ".mha", ".nrrd")]
    code, _, errors = predict(scan, *copies, tmp_path / "zipped.zip")
    assert (code, errors) == (0, [])
    folders = sorted(path.parent for path in (tmp_path / "out").glob("*/result.json"))
    assert len(folders) == 5
    results = [result_of(folder) for folder in folders]
    for result in results:
        assert result["kind"] == "scan" and len(result["slices"]) == 4
        for key in ("class", "probabilities", "quantities"):
            assert_close(result[key], results[0][key])
        for a, b in zip(result["slices"], results[0]["slices"], strict=True):
            assert_close({**a, "file": None}, {**b, "file": None})
    assert "lesions.seg.dcm" in written(tmp_path / "out" / "scan")
    assert "lesions.seg.dcm" in written(tmp_path / "out" / "zipped")
    copied = [folder for folder in folders if "copy" in folder.name]
    assert len(copied) == 3  # of no DICOM series that a segmentation could refer to
    assert not any("lesions.seg.dcm" in written(folder) for folder in copied)
    assert all("lesions.nii.gz" in written(folder) for folder in folders)


def test_a_lesion_model_alone_and_a_ct_mask_net_alone(predict, runs, slices, scan, tmp_path):
    code, *_ = predict(slices, scan, model=runs.lesion, lesion_model=None)
    assert code == 0
    result = result_of(tmp_path / "out" / "scan")
    assert "probabilities" not in result["slices"][0] or not result["slices"][0]["probabilities"]
    assert "ranked_boxes.csv" not in written(tmp_path / "out" / "scan")
    shutil.rmtree(tmp_path / "out")
    code, *_ = predict(slices, scan, lesion_model=None)
    assert code == 0
    names = written(tmp_path / "out")
    assert "scan/ranked_boxes.csv" in names and "scan/lesions.nii.gz" not in names
    assert not any("masks" in name for name in names)


def test_bad_files_are_named_and_do_not_stop_the_others(predict, slices, scan, tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(slices / "deep.png")
    whole = (slices / "grey.png").read_bytes()
    (slices / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "bad.nii.gz").write_bytes(b"no NIfTI")
    first = sorted(scan.iterdir())[0]
    first.write_bytes(first.read_bytes()[:400])
    code, printed, errors = predict(slices, tmp_path / "bad.nii.gz", scan, tmp_path / "none")
    assert code == 2 and "2 of 3 predicted" in printed
    assert len(result_of(tmp_path / "out" / "slices")["slices"]) == 2
    assert len(result_of(tmp_path / "out" / "scan")["slices"]) == 3
    assert not (tmp_path / "out" / "bad").exists()
    for name in ("deep.png", "half.png", "bad.nii.gz", first.name, "none"):
        assert [x for x in errors if name in x], name
    notes = result_of(tmp_path / "out" / "slices")["notes"]
    assert any("half.png" in note for note in notes)


def test_the_summary_has_a_line_for_each_input(predict, slices, scan, tmp_path):
    predict(slices, scan)
    with (tmp_path / "out" / "summary.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["scan", "slices"]
    assert [row["slices"] for row in rows] == ["4", "2"]
    result = result_of(tmp_path / "out" / "scan")
    assert rows[0]["class"] == result["class"] and rows[1]["class"] == ""
    assert float(rows[0]["volume_ml_lesion"]) == pytest.approx(
        result["quantities"]["lesions"]["lesion"]["volume_ml"]
    )


def test_a_lung_mask_that_is_given(predict, scan, tmp_path):
    volume = read_volume(scan)
    lung = np.zeros(volume.hu.shape, np.int16)
    lung[:, 4:12] = 1
    write_volume(replace(volume, hu=lung), tmp_path / "lung.nii.gz")
    code, _, errors = predict(scan, options=["--lung", tmp_path / "lung.nii.gz"])
    assert (code, errors) == (0, [])
    found = result_of(tmp_path / "out" / "scan")["quantities"]
    assert found["lung_volume_ml"] == pytest.approx(4 * 8 * 16 * 0.7 * 0.7 * 2 / 1000)
    assert 0 <= found["lesions"]["lesion"]["share_of_lung"] <= 1
    assert "lung.nii.gz" in found["lung_method"]


def test_a_label_map_of_lobes(predict, scan, tmp_path):
    volume = read_volume(scan)
    lobes = np.zeros(volume.hu.shape, np.int16)
    lobes[2:, :, 9:], lobes[:2, :, 9:], lobes[2:, :, :7] = 1, 2, 3
    lobes[1, :, :7], lobes[0, :, :7] = 4, 5
    write_volume(replace(volume, hu=lobes), tmp_path / "lobes.nii.gz")
    code, printed, errors = predict(scan, options=["--lung", tmp_path / "lobes.nii.gz"])
    assert (code, errors) == (0, [])
    found = result_of(tmp_path / "out" / "scan")["quantities"]
    scores = [lobe["score"] for lobe in found["lobes"].values()]
    assert found["ct_score"] == sum(scores) and f"CT score {sum(scores)} of 25" in printed
    with (tmp_path / "out" / "summary.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert row["ct_score"] == str(sum(scores))
    share = found["lobes"]["right middle"]["share_of_lobe"]["lesion"]
    assert float(row["share_of_right_middle_lobe"]) == share


def test_a_lung_mask_that_does_not_fit(predict, slices, scan, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.fromarray(np.ones((80, 100), np.uint8)).save(masks / "grey.png")
    code, _, errors = predict(slices, options=["--lung", masks])
    assert code == 2 and "holds no lung mask called colour" in errors[0]
    assert not (tmp_path / "out").exists()
    Image.fromarray(np.ones((8, 10), np.uint8)).save(masks / "colour.png")
    code, _, errors = predict(slices, options=["--lung", masks])
    assert code == 2 and len(errors) == 1 and "colour.png" in errors[0]
    result = result_of(tmp_path / "out" / "slices")  # the other slice has its share
    assert [x["share_of_lung"] is None for x in result["slices"]] == [False, False]
    assert [x["share_of_lung"]["lesion"] is None for x in result["slices"]] == [True, False]
    code, _, errors = predict(scan, options=["--lung", masks / "grey.png"])
    assert code == 2 and "grey.png" in errors[0]


def test_a_series_with_a_gap_says_what_that_means(predict, scan, tmp_path):
    sorted(scan.iterdir())[2].unlink()
    code, _, errors = predict(scan)
    assert code == 2 and "missing" in errors[0]
    notes = result_of(tmp_path / "out" / "scan")["notes"]
    assert any("take all steps as 2 mm" in note for note in notes)


def test_a_mask_in_a_zip_is_a_note_and_no_error(predict, scan, tmp_path):
    volume = read_volume(scan)
    write_volume(volume, tmp_path / "ct.nii.gz")
    mask = np.zeros(volume.hu.shape, np.int16)
    mask[2:4, 4:9, 4:9] = 1
    write_volume(replace(volume, hu=mask), tmp_path / "mask.nii.gz")
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name in ("ct.nii.gz", "mask.nii.gz"):
            archive.write(tmp_path / name, name)
    code, printed, errors = predict(tmp_path / "p.zip")
    line = f"{tmp_path}/p.zip!mask.nii.gz: a label map (mask), no CT: left out"
    assert code == 0 and errors == [] and f"note: {line}" in printed
    assert line in result_of(tmp_path / "out" / "p")["notes"]


def test_output_within_an_input_would_feed_on_itself(predict, slices, tmp_path):
    code, _, errors = predict(tmp_path)
    assert code == 2 and "lies in the input" in errors[0]
    assert not (tmp_path / "out").exists()


def test_noise_has_no_lung_and_says_so(predict, scan, tmp_path):
    predict(scan)
    result = result_of(tmp_path / "out" / "scan")
    assert result["quantities"]["lung_volume_ml"] is None
    assert any("No share of the lung" in note for note in result["notes"])


@pytest.mark.parametrize(
    "options, message",
    [
        (["--window", "narrow"], "narrow"),
        (["--lung", "none.nii"], "none.nii: no such lung mask; expected threshold, lungmask"),
        (["--lung", "lungmask"], "pip install 'ctmasknet[lungmask]'"),
        (["--aggregation", "median"], "median"),
        (["--device", "cuda:99"], "cuda:99"),
    ],
)
def test_options_that_cannot_be(predict, slices, tmp_path, options, message):
    code, _, errors = predict(slices, options=options)
    assert code == 2 and len(errors) == 1 and message in errors[0]
    assert not (tmp_path / "out").exists()


def test_one_lung_mask_for_many_slices_is_refused(predict, slices, tmp_path):
    Image.fromarray(np.zeros((80, 100), np.uint8)).save(tmp_path / "lung.png")
    code, _, errors = predict(slices, options=["--lung", tmp_path / "lung.png"])
    assert code == 2 and "one mask for 2 scans or slices" in errors[0]


def test_a_model_that_is_not_there(predict, slices, tmp_path):
    code, _, errors = predict(slices, model="R18_T11")
    assert code == 2 and "did you mean R18_T1" in errors[0]
    assert not (tmp_path / "out").exists()


def test_output_that_is_a_file(predict, slices, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, _, errors = predict(slices)
    assert code == 2 and len(errors) == 1 and "expected a folder" in errors[0]
    assert (tmp_path / "out").read_text() == "mine"


def test_help_explains(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["predict", "--help"])
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    for word in ("DICOM", "--resume", "--model demo", "Research use only"):
        assert word in printed


def chest_scan(folder):
    """Four slices, the lowest without lung; a body of 200 x 200 pixels of 2 mm."""
    ys, xs = np.ogrid[:200, :200]
    hu = np.full((4, 200, 200), -1000, np.int16)
    hu[:, ((xs - 100) / 80) ** 2 + ((ys - 95) / 60) ** 2 <= 1] = 40
    for x in (60, 140):
        hu[1:, ((xs - x) / 22) ** 2 + ((ys - 95) / 42) ** 2 <= 1] = -800
    path = folder / "chest.nii.gz"
    write_volume(upright_volume(hu, (5.0, 2.0, 2.0), (0, 0, 0), np.eye(3), path), path)
    return path


def test_the_lung_decides_and_the_report_says_so(predict_and_report, tmp_path):
    source = chest_scan(tmp_path)
    code, _, errors = predict_and_report(source)
    assert (code, errors) == (0, [])
    result = result_of(tmp_path / "out" / "chest")
    assert [x["searched"] for x in result["slices"]] == [False, True, True, True]
    assert result["slices"][0]["class"] is None and result["slices"][1]["class"]
    assert result["class"] and sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert result["about"]["settings"]["rules"] == "field-of-view, lung-slices, lung-lesions, domes"
    assert any("No lung on 1 slice of 4 (0): not searched" in x for x in result["notes"])
    assert any(x.startswith("Outside the lung: ") for x in result["notes"])
    page = (tmp_path / "out" / "chest" / "report.html").read_text()
    assert "No lung on 1 slice of 4" in page and "field-of-view, lung-slices" in page
    ranked = (tmp_path / "out" / "chest" / "ranked_boxes.csv").read_text()
    assert {line.split(",")[0] for line in ranked.splitlines()[1:]} == {"1", "2", "3"}


def test_rules_can_be_switched_off_by_name(predict, tmp_path):
    source = chest_scan(tmp_path)
    options = [x for rule in ("lung-slices", "lung-lesions", "domes") for x in ("--without", rule)]
    assert predict(source, options=options)[0] == 0
    result = result_of(tmp_path / "out" / "chest")
    assert all(x["searched"] for x in result["slices"])
    assert result["about"]["settings"]["rules"] == "field-of-view"
    assert not any("Outside the lung" in x or "No lung" in x for x in result["notes"])
    assert any("lies outside the lung and is no part" in x for x in result["notes"])
