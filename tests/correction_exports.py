"""Results as `ctmasknet predict` writes them, small, and what is exported of them."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pycocotools.mask as mask_util
import pytest

from ctmasknet.__main__ import main
from ctmasknet.data.coco_lesions import read_coco_lesions
from ctmasknet.data.registration import read_dataset, register_paths
from ctmasknet.volumes.volume import upright_volume
from ctmasknet.volumes.volume_files import write_volume

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
    words = (
        "prepare",
        "correction",
        predicted.scan,
        "--results",
        predicted.root / "results",
        "--output",
        out,
    )
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
