"""From predictions to the programs that correct them."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pycocotools.mask as mask_util
import pytest
import SimpleITK as sitk
from correction_exports import SIZE, export, masks_of, records_of, run, write_results
from PIL import Image

from ctmasknet.data.images import read_mask, read_slice
from ctmasknet.data.rle import compressed_rle
from ctmasknet.pseudonyms import Names
from ctmasknet.volumes.volume import upright_volume
from ctmasknet.volumes.volume_files import read_volume, write_volume

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


def test_slices_and_lesions_are_those_of_the_results(predicted, capsys):
    out, printed = export(capsys, predicted)
    assert "3 slices, 3 outlines, of the classes GGO, C" in printed and "Research use" in printed
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"case_{z:04d}.png" for z in (1, 2, 3)),
        "cvat_labels.json",
        "instances_predictions.json",
    ]
    found = masks_of(out / "instances_predictions.json")
    volume = read_volume(predicted.scan)
    for z in (1, 2, 3):
        labels, _ = found[f"case_{z:04d}.png"]
        assert (labels == predicted.labels[z]).all()
        assert (read_slice(out / f"case_{z:04d}.png") == volume.slice(z)).all()
    coco = json.loads((out / "instances_predictions.json").read_text())
    assert [x["slice_index"] for x in coco["images"]] == [1, 2, 3]
    assert {(x["patient"], x["scan"]) for x in coco["images"]} == {("p7", "case")}
    assert all(type(x["segmentation"]["counts"][0]) is int for x in coco["annotations"])
    labels = json.loads((out / "cvat_labels.json").read_text())
    assert [(x["name"], x["color"]) for x in labels] == [("GGO", "#e69f00"), ("C", "#56b4e9")]


def test_the_export_is_a_data_set_as_it_is(predicted, capsys, own_data_sets):
    out, _ = export(capsys, predicted)
    records = records_of(out / "instances_predictions.json")
    assert [len(x["annotations"]) for x in records] == [2, 1, 0]
    assert {x["patient"] for x in records} == {"p7"}


def test_pseudonyms_stay(predicted, capsys):
    """Results without identifiers are found by the file of names, and nothing else is named."""
    names = Names(predicted.root / "ctmasknet-names.csv")
    called = names.of("scan", str(predicted.scan))
    names.save()
    (predicted.root / "results" / "case").rename(predicted.root / "results" / called)
    write_results(predicted.root / "results" / called, ["a"] * 4, kind="scan", patient="patient-1")
    out, _ = export(capsys, predicted)
    assert sorted(x.name for x in out.glob("*.png")) == [f"{called}_{z:04d}.png" for z in (1, 2, 3)]
    assert "case" not in (out / "instances_predictions.json").read_text()


def test_loose_slices_come_back(tmp_path, capsys):
    rng, folder = np.random.default_rng(1), tmp_path / "loose"
    folder.mkdir()
    results = tmp_path / "results" / "loose"
    (results / "masks").mkdir(parents=True)
    masks = [np.zeros(SIZE, np.uint8) for _ in range(3)]
    masks[1][3:9, 3:9] = 2
    names = ("a.png", "b.jpg", "b.png")
    for name, stem, mask in zip(names, ("a", "b.jpg", "b.png"), masks, strict=True):
        Image.fromarray(rng.integers(0, 255, SIZE, dtype=np.uint8)).save(folder / name)
        Image.fromarray(mask).save(results / "masks" / f"{stem}.png")
    write_results(results, [str(folder / name) for name in names], kind="slices", patient=None)
    scan = SimpleNamespace(scan=folder, root=tmp_path)
    out, _ = export(capsys, scan)
    found = masks_of(out / "instances_predictions.json")
    assert sorted(found) == ["loose_b.jpg.png", "loose_b.png.png"]
    assert (found["loose_b.jpg.png"][0] == masks[1]).all()
    assert (read_mask(out / "loose_b.png.png") == read_slice(folder / "b.png")[..., 0]).all()


def test_volumes_for_slicer_and_itk_snap(predicted, capsys):
    out, printed = export(capsys, predicted, "--format", "volumes")
    assert "1 scan, lesions of the classes GGO, C" in printed
    volume, was = read_volume(out / "scans" / "case.nii.gz"), read_volume(predicted.scan)
    assert (volume.hu == was.hu).all() and volume.origin == pytest.approx(was.origin)
    for name in ("masks/case.nii.gz", "slicer/case.seg.nrrd"):
        image = sitk.ReadImage(str(out / name))
        assert (sitk.GetArrayFromImage(image) == predicted.labels).all()
        assert image.GetOrigin() == pytest.approx(was.origin)
        assert image.GetSpacing() == pytest.approx(was.spacing[::-1])
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert (fields["Segment0_Name"], fields["Segment1_Name"]) == ("GGO", "C")
    assert (fields["Segment0_LabelValue"], fields["Segment1_LabelValue"]) == ("1", "2")
    assert fields["Segment0_Color"] == "0.901961 0.623529 0.000000"
    assert fields["Segment1_Extent"] == "0 19 0 23 0 3"
    rows = (out / "scans.csv").read_text().splitlines()
    assert rows == ["file,mask,patient,scan", "scans/case.nii.gz,masks/case.nii.gz,p7,case"]
    lines = (out / "itk_snap_labels.txt").read_text().splitlines()
    assert lines[0] == "# ITK-SnAP Label Description File"
    assert lines[-2].split() == ["1", "230", "159", "0", "1", "1", "1", '"GGO"']


def test_lesions_that_touch_stay_apart_where_they_are_numbered(predicted, capsys):
    ids = (predicted.labels > 0).astype(np.uint16)
    ids[1, 2:10, 6:] = 7  # half of the one with a hole
    known = {"spacing": (5.0, 0.7, 0.7), "origin": (-10.0, -20.0, 30.0), "direction": np.eye(3)}
    path = predicted.root / "results" / "case" / "lesion_ids.nii.gz"
    write_volume(upright_volume(ids, source=Path("case"), **known), path)
    out, _ = export(capsys, predicted)
    found = masks_of(out / "instances_predictions.json")
    labels, count = found["case_0001.png"]
    assert count == 3 and (labels == predicted.labels[1]).all()
    coco = json.loads((out / "instances_predictions.json").read_text())
    assert [x["lesion_id"] for x in coco["annotations"]] == [1, 7, 1, 1]


def test_a_folder_that_has_changed_is_told(tmp_path, capsys):
    folder, results = tmp_path / "loose", tmp_path / "results" / "loose"
    folder.mkdir()
    (results / "masks").mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, SIZE, dtype=np.uint8)).save(
        folder / "new.png"
    )
    write_results(results, [str(folder / "old.png")], kind="slices", patient=None)
    words = (
        "prepare",
        "correction",
        folder,
        "--results",
        tmp_path / "results",
        "--output",
        tmp_path / "out",
    )
    code, _, errors = run(capsys, *words)
    assert code == 2 and "are results of other slices than" in errors
    code, _, errors = run(capsys, *words, "--as-scan")
    assert code == 2 and "are results of slices, one by one; give --as-scan" in errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: shutil.rmtree(root / "results" / "case"), "no such file of names"),
        (lambda root: (root / "results" / "case" / "labels.csv").unlink(), "boxes without masks"),
        (
            lambda root: (root / "results/case/result.json").write_text("{}"),
            "are no results of",
        ),
        (lambda root: (root / "out").write_text("x"), "expected a new or empty folder"),
        (lambda root: shutil.rmtree(root / "results"), "no such folder of results"),
    ],
)
def test_results_that_do_not_do(predicted, capsys, change, message):
    change(predicted.root)
    before = sorted(predicted.root.iterdir())
    words = ("--results", predicted.root / "results", "--output", predicted.root / "out")
    code, _, errors = run(capsys, "prepare", "correction", predicted.scan, *words)
    assert code == 2 and message in errors and errors.count("\n") == 1
    assert sorted(predicted.root.iterdir()) == before


def test_results_of_another_scan(predicted, capsys):
    volume = read_volume(predicted.scan)
    write_volume(
        upright_volume(volume.hu[:3], volume.spacing, volume.origin, np.eye(3), Path("x")),
        predicted.scan,
    )
    words = ("--results", predicted.root / "results", "--output", predicted.root / "out")
    code, _, errors = run(capsys, "prepare", "correction", predicted.scan, *words)
    assert code == 2 and "the results are of another scan" in errors
    assert not (predicted.root / "out").exists()


def test_a_rle_of_plain_numbers_is_the_same_mask(predicted, capsys):
    out, _ = export(capsys, predicted)
    coco = json.loads((out / "instances_predictions.json").read_text())
    for one in coco["annotations"]:
        mask = mask_util.decode(compressed_rle(one["segmentation"], SIZE))
        assert mask.sum() == one["area"]
