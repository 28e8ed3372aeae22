"""From predictions to the programs that correct them, and back to a data set."""

import csv
import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pycocotools.mask as mask_util
import pytest
import SimpleITK as sitk
from PIL import Image

from ctmasknet.__main__ import main
from ctmasknet.data.coco_lesions import read_coco_lesions
from ctmasknet.data.images import read_mask, read_slice
from ctmasknet.data.label_studio import brush_rle
from ctmasknet.data.registration import read_dataset, register_paths
from ctmasknet.data.rle import compressed_rle
from ctmasknet.volumes.volume import upright_volume
from ctmasknet.volumes.volume_files import read_volume, write_volume

pytestmark = pytest.mark.slow  # whole networks, commands or data sets
SIZE = (24, 20)


def run(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    return stop.value.code or 0, printed.out, printed.err


@pytest.fixture
def predicted(tmp_path):
    """A scan of four slices and its results, as predict writes them: GGO with a hole, and C."""
    hu = np.random.default_rng(0).integers(-1000, 200, (4, *SIZE)).astype(np.int16)
    known = {"spacing": (5.0, 0.7, 0.7), "origin": (-10.0, -20.0, 30.0), "direction": np.eye(3)}
    write_volume(upright_volume(hu, source=Path("case"), **known), tmp_path / "case.nii.gz")
    labels = np.zeros((4, *SIZE), np.uint8)
    labels[1, 2:10, 3:12] = 1
    labels[1, 5:7, 6:8] = 0
    labels[1, 12:16, 12:20] = 2
    labels[2, 0:4, 0:4] = 1
    folder = tmp_path / "results" / "case"
    folder.mkdir(parents=True)
    write_volume(upright_volume(labels, source=Path("case"), **known), folder / "lesions.nii.gz")
    write_results(folder, [f"{z}" for z in range(4)], kind="scan", patient="p7")
    return SimpleNamespace(scan=tmp_path / "case.nii.gz", labels=labels, root=tmp_path, hu=hu)


def write_results(folder, files, **more):
    """The parts of results that are read again; the first slice was not searched."""
    rows = [("label", "class", "colour"), (1, "GGO", "#e69f00"), (2, "C", "#56b4e9")]
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    slices = [
        {"index": i, "file": x, "searched": bool(i), "class": None} for i, x in enumerate(files)
    ]
    made = {"models": [{"sha256": "a", "config_sha256": "b"}], "input_fingerprint": "c"}
    about = {**made, "settings": {"window": "1500,-600"}}
    content = {"about": about, "problems": [], "quantities": {"lesions": {}}, "slices": slices}
    (folder / "result.json").write_text(json.dumps({**content, **more}))


def export(capsys, predicted, *more, name="out"):
    out = predicted.root / name
    words = ("export", predicted.scan, "--results", predicted.root / "results", "--output", out)
    code, printed, errors = run(capsys, *words, *more)
    assert code == 0, errors
    return out, printed


def masks_of(path):
    """Label maps of a lesion data set, by file name, and how many lesions each has."""
    coco, masks, _ = read_coco_lesions(path)
    values = {x["id"]: {"GGO": 1, "C": 2}.get(x["name"], 9) for x in coco["categories"]}
    found = {}
    for image in coco["images"]:
        labels, count = np.zeros((image["height"], image["width"]), np.uint8), 0
        for lesion, mask in zip(coco["annotations"], masks, strict=True):
            if lesion["image_id"] == image["id"]:
                labels[mask_util.decode(mask) > 0] = values[lesion["category_id"]]
                count += 1
        found[Path(image["file_name"]).name] = (labels, count)
    return found


def records_of(path):
    (name,) = register_paths([str(path)])
    return read_dataset(name)


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


def cvat_file(out, path, brush=True):
    """What CVAT exports after a correction: its own ids and order, no patients, masks as crowds."""
    coco = json.loads((out / "instances_predictions.json").read_text())
    images = [
        {"id": i, "width": SIZE[1], "height": SIZE[0], "file_name": x["file_name"], "license": 0}
        for i, x in enumerate(coco["images"], start=1)
    ]
    lesions = []
    for number, one in enumerate(coco["annotations"], start=11):
        segmentation, crowd = one["segmentation"], 1
        if not brush and one["image_id"] == 2:
            segmentation, crowd = [[0, 0, 4, 0, 4, 4, 0, 4]], 0
        category = 3 - one["category_id"]  # C is the first label there
        lesions.append({**one, "id": number, "category_id": category, "iscrowd": crowd})
        lesions[-1] |= {"segmentation": segmentation, "attributes": {"occluded": False}}
    del lesions[1]  # no consolidation, the radiologist says
    categories = [{"id": 1, "name": "C"}, {"id": 2, "name": "GGO"}]
    content = {"images": images, "annotations": lesions, "categories": categories}
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("brush", [True, False])
def test_what_comes_back_from_cvat_is_a_data_set(predicted, capsys, zipped, brush, own_data_sets):
    out, _ = export(capsys, predicted)
    corrected = predicted.root / "instances_default.json"
    cvat_file(out, corrected, brush)
    if zipped:
        with zipfile.ZipFile(predicted.root / "task.zip", "w") as archive:
            archive.write(corrected, "annotations/instances_default.json")
        corrected = predicted.root / "task.zip"
    data_set = predicted.root / "corrected.json"
    code, printed, errors = run(capsys, "prepare", "corrected", out, corrected, data_set)
    assert (code, errors) == (0, "")
    assert "3 images, 1 lesion-free" in printed and "GGO: 2 instances" in printed
    found = masks_of(data_set)
    expected = predicted.labels.copy()
    expected[expected == 2] = 0
    for z in (1, 2, 3):
        assert (found[f"case_{z:04d}.png"][0] == expected[z]).all()
    records = records_of(data_set)
    assert all(Path(x["file_name"]).is_file() and x["patient"] == "p7" for x in records)
    coco = json.loads(data_set.read_text())
    assert [x["name"] for x in coco["categories"]] == ["GGO", "C"]
    assert all(x["spacing"] == pytest.approx([5, 0.7, 0.7]) for x in coco["images"])


def label_studio_file(out, path):
    """What Label Studio exports: one task corrected with a brush, one with a polygon, one open."""
    tasks = json.loads((out / "label_studio_tasks.json").read_text())
    first, second, third = (task["predictions"][0]["result"] for task in tasks)
    mask = np.zeros(SIZE, bool)
    mask[20:24, 0:20] = True
    drawn = {**first[0], "value": {**first[0]["value"], "rle": brush_rle(mask)}}
    drawn["value"]["brushlabels"] = ["fibrosis"]
    square = [[0, 0], [20, 0], [20, 25], [0, 25]]  # percent
    polygon = {"points": square, "polygonlabels": ["GGO"]}
    second = [{**second[0], "type": "polygonlabels", "value": polygon}]
    for task, result in zip(tasks, ([*first, drawn], second, None), strict=True):
        done = [] if result is None else [{"was_cancelled": False, "result": result}]
        task["annotations"] = [{"was_cancelled": True, "result": []}, *done]
    tasks[1]["data"]["image"] = "/data/upload/3/9f2c01ab-case_0002.png"
    path.write_text(json.dumps(tasks))


def test_what_comes_back_from_label_studio_is_a_data_set(predicted, capsys):
    out, _ = export(capsys, predicted, "--format", "label-studio", "--image-url", "/d/?d=lung/")
    tasks = json.loads((out / "label_studio_tasks.json").read_text())
    urls = [f"/d/?d=lung/case_{z:04d}.png" for z in (1, 2, 3)]
    urls = [f"/d/?d=lung/case_{z:04d}.png" for z in (1, 2, 3)]
    assert [task["data"]["image"] for task in tasks] == urls
    interface = (out / "label_studio_interface.xml").read_text()
    assert '<Label value="GGO" background="#e69f00"/>' in interface
    corrected, data_set = predicted.root / "project.json", predicted.root / "corrected.json"
    label_studio_file(out, corrected)
    code, printed, errors = run(capsys, "prepare", "corrected", out, corrected, data_set)
    assert (code, errors) == (0, "")
    assert "1 slice of" in printed and "left out" in printed
    assert "classes that the predictions did not have: fibrosis" in printed
    found = masks_of(data_set)
    assert sorted(found) == ["case_0001.png", "case_0002.png"]
    expected = predicted.labels[1].copy()
    expected[20:24] = 9
    assert (found["case_0001.png"][0] == expected).all() and found["case_0001.png"][1] == 3
    square = np.zeros(SIZE, bool)
    square[:6, :4] = True
    assert ((found["case_0002.png"][0] == 1) == square).all()


def test_pseudonyms_stay(predicted, capsys):
    """Results without identifiers are found by the file of names, and nothing else is named."""
    from ctmasknet.pseudonyms import Names

    names = Names(predicted.root / "ctmasknet-names.csv")
    called = names.of("scan", str(predicted.scan))
    names.save()
    (predicted.root / "results" / "case").rename(predicted.root / "results" / called)
    write_results(predicted.root / "results" / called, ["a", "b", "c", "d"], patient="patient-1")
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
    lines = (out / "itk_snap_labels.txt").read_text().splitlines()
    assert lines[0] == "# ITK-SnAP Label Description File"
    assert lines[-2].split() == ["1", "230", "159", "0", "1", "1", "1", '"GGO"']


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
    code, _, errors = run(capsys, "export", predicted.scan, *words)
    assert code == 2 and message in errors and errors.count("\n") == 1
    assert sorted(predicted.root.iterdir()) == before


def test_results_of_another_scan(predicted, capsys):
    volume = read_volume(predicted.scan)
    write_volume(
        upright_volume(volume.hu[:3], volume.spacing, volume.origin, np.eye(3), Path("x")),
        predicted.scan,
    )
    words = ("--results", predicted.root / "results", "--output", predicted.root / "out")
    code, _, errors = run(capsys, "export", predicted.scan, *words)
    assert code == 2 and "the results are of another scan" in errors
    assert not (predicted.root / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["images"][0].update(file_name="other.png"), "expected slices of the export"),
        (lambda c: c["images"][0].update(width=7), "expected [24, 7] as its image"),
        (lambda c: c["categories"][1].update(name="ggo"), "differ in spelling alone"),
        (lambda c: c["annotations"][0].update(segmentation=[]), "no segmentation"),
        (lambda c: c["images"][1].update(file_name="b/case_0001.png"), "in several folders"),
    ],
)
def test_corrections_that_do_not_do(predicted, capsys, change, message):
    out, _ = export(capsys, predicted)
    corrected = predicted.root / "instances_default.json"
    cvat_file(out, corrected)
    content = json.loads(corrected.read_text())
    change(content)
    corrected.write_text(json.dumps(content))
    data_set = predicted.root / "corrected.json"
    code, _, errors = run(capsys, "prepare", "corrected", out, corrected, data_set)
    assert code == 2 and message in errors and not data_set.exists()


def test_regions_that_are_no_outlines_are_errors(predicted, capsys):
    out, _ = export(capsys, predicted, "--format", "label-studio")
    corrected, data_set = predicted.root / "project.json", predicted.root / "corrected.json"
    label_studio_file(out, corrected)
    tasks = json.loads(corrected.read_text())
    region = tasks[0]["annotations"][1]["result"][0]
    region["type"], region["value"] = "rectanglelabels", {"rectanglelabels": ["GGO"]}
    corrected.write_text(json.dumps(tasks))
    words = ("prepare", "corrected", out, corrected, data_set)
    code, _, errors = run(capsys, *words)
    assert code == 2 and "found rectanglelabels, expected a brush or a polygon" in errors
    code, printed, _ = run(capsys, *words, "--skip-bad")
    assert code == 0 and "skipped 1:" in printed and masks_of(data_set)["case_0001.png"][1] == 2


def test_a_rle_of_plain_numbers_is_the_same_mask(predicted, capsys):
    out, _ = export(capsys, predicted)
    coco = json.loads((out / "instances_predictions.json").read_text())
    for one in coco["annotations"]:
        mask = mask_util.decode(compressed_rle(one["segmentation"], SIZE))
        assert mask.sum() == one["area"]
