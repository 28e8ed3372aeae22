"""A data set made from masks of scans, in the commands that data sets are for."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import save_volume

# Whole networks, commands or data sets; what a test registers is forgotten.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_data_sets")]


@pytest.fixture
def lesions(command, tmp_path):
    """lesions.json of three scans of noise with a lesion each."""
    for name in ("scans", "masks"):
        (tmp_path / name).mkdir()
    for number in range(3):
        hu = np.random.default_rng(number).integers(-1000, 200, (3, 64, 64)).astype(np.int16)
        labels = np.zeros(hu.shape, np.uint8)
        labels[1:, 10:40, 10 : 30 + number] = 1
        save_volume(tmp_path / f"scans/p{number}.nii.gz", hu)
        save_volume(tmp_path / f"masks/p{number}.nii.gz", labels)
    masks = ("--masks", tmp_path / "masks", "--values", "1=lesion", "--keep-identifiers")
    words = ("prepare", "volumes", tmp_path / "scans", *masks, "--output", tmp_path / "out")
    assert command(*words)[0] == 0
    return tmp_path / "out/lesions.json"


def test_split_audit_evaluate_and_back(lesions, command, runs, tmp_path):
    code, printed, _ = command("prepare", "split", lesions, "--parts", "train=2", "test=1")
    assert code == 0 and "2 patients" in printed and "1 patient," in printed
    parts = [lesions.with_name(f"lesions_{part}.json") for part in ("train", "test")]
    scans = [{x["scan"] for x in json.loads(path.read_text())["images"]} for path in parts]
    assert [len(x) for x in scans] == [2, 1] and not scans[0] & scans[1]
    code, printed, err = command("audit", *parts, "--output", tmp_path / "audit")
    assert code == 0, err
    found = json.loads((tmp_path / "audit/audit.json").read_text())
    assert (found["leak_count"], found["problem_count"]) == (0, 0)
    assert [(x["slices"], x["scans"]) for x in found["counts"]] == [(6, 2), (3, 1)]
    words = ("--model", runs.lesion, "--dataset", parts[1], "--output", tmp_path / "results")
    more = ("DATALOADER.NUM_WORKERS", 0, "TEST.BOOTSTRAP_RESAMPLES", 0)
    code, _, err = command("evaluate", *words, *more)
    assert code == 0, err
    (detections,) = (tmp_path / "results").rglob("coco_instances_results.json")
    words = ("--predictions", detections, "--min-score", 0, "--output", tmp_path / "back")
    assert command("prepare", "label-maps", parts[1], *words)[0] == 0
    (scan,) = scans[1]
    labels = sitk.ReadImage(str(tmp_path / f"back/{scan}.nii.gz"))
    source = sitk.ReadImage(str(tmp_path / f"scans/{scan}.nii.gz"))
    assert labels.GetSize() == source.GetSize()
    assert labels.GetOrigin() == pytest.approx(source.GetOrigin())
    assert sitk.GetArrayFromImage(labels).any() == bool(json.loads(detections.read_text()))
