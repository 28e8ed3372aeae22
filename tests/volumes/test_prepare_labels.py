"""What radiologists said of single slices, in the list that `prepare volumes` writes."""

import csv
import json

import pytest
import SimpleITK as sitk
from dicom_files import lung_hu, write_series
from PIL import Image

from ctmasknet.volumes import read_volume


@pytest.fixture
def scan(tmp_path):
    write_series(tmp_path / "p1", lung_hu())
    return tmp_path / "p1"


def write_labels(scan, infected):
    """Label slices of the scan, from the feet up; returns the CSV."""
    files = [file.rpartition("/")[2] for file in read_volume(scan).slice_files]
    lines = [f"p1/{files[z]},{z * 2}.5,{value},0" for z, value in infected.items()]
    path = scan.parent / "labels.csv"
    path.write_text("\n".join(["file,z_mm,infected,label", *lines, ""]))
    return path


def test_labels_stand_beside_the_slices_of_their_files(scan, tmp_path, command):
    labels = write_labels(scan, {0: 0, 1: 1, 5: 0})
    status, _, errors = command(
        *("prepare", "volumes", scan, "--label", "COVID-19", "--slice-labels", labels),
        *("--output", tmp_path / "out"),
    )
    assert status == 0, errors
    with (tmp_path / "out/slices.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["infected"] for row in rows] == ["0", "1", "", "", "", "0", "", ""]
    assert [row["z_mm"] for row in rows[:2]] == ["0.5", "2.5"]
    assert {row["label"] for row in rows} == {"COVID-19"}  # the list's own column
    like = tmp_path / "like.json"
    like.write_text(json.dumps({"images": [], "categories": [{"id": 1, "name": "GGO"}]}))
    status, _, errors = command(
        *("prepare", "lesion-free", tmp_path / "out/slices.csv", tmp_path / "healthy.json"),
        *("--like", like, "--where", "infected=0"),
    )
    assert status == 0, errors
    found = json.loads((tmp_path / "healthy.json").read_text())["images"]
    names = ["0000.png", "0005.png"]
    assert [image["file_name"].rpartition("/")[2] for image in found] == names
    assert [Image.open(tmp_path / image["file_name"]).size for image in found] == [(16, 16)] * 2


def test_labels_of_other_scans_are_refused(scan, tmp_path, command):
    labels = write_labels(scan, {0: 0})
    sitk.WriteImage(sitk.GetImageFromArray(lung_hu(3)), str(tmp_path / "b.nii.gz"))
    call = ("--label", "Control", "--slice-labels", labels, "--output", tmp_path / "out")
    status, _, errors = command("prepare", "volumes", tmp_path / "b.nii.gz", *call)
    assert status == 2 and "labels.csv lists none of its slices, which is one file" in errors
    labels.write_text("file,infected\np2/x.dcm,0\n")
    status, _, errors = command("prepare", "volumes", scan, *call)
    assert status == 2 and "lists none of its slices, whose first is p1/" in errors
    assert not (tmp_path / "out").exists()
