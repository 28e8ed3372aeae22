"""What was corrected in CVAT or Label Studio becomes a lesion data set."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from correction_exports import SIZE, export, masks_of, records_of, run

from ctmasknet.data.label_studio import brush_rle

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


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
