"""Folders that are links are found, and none twice."""

import os

import numpy as np
import pytest
from dicom_files import lung_hu, write_series
from PIL import Image

from ctmasknet.data.mask_pairs import pair_files
from ctmasknet.data.walk import walk
from ctmasknet.inference.inputs import find_inputs


def found(folder):
    return sorted(
        os.path.relpath(os.path.join(here, name), folder)
        for here, names in walk(folder)
        for name in names
    )


@pytest.fixture
def tree(tmp_path):
    """tree/p1 is a folder, tree/p2 a link to one elsewhere; each with a file."""
    for folder in (tmp_path / "tree" / "p1", tmp_path / "store" / "p2"):
        folder.mkdir(parents=True)
        (folder / "a").touch()
    (tmp_path / "tree" / "p2").symlink_to("../store/p2")
    return tmp_path / "tree"


def test_links_to_folders_are_followed(tree):
    assert found(tree) == ["p1/a", "p2/a"]


def test_links_that_lead_back_end(tree):
    (tree / "p1" / "here").symlink_to(".")
    (tree / "p1" / "up").symlink_to("../..")
    (tree / "p2" / "self").symlink_to("../../tree")
    (tree / "gone").symlink_to("nowhere")
    assert [name for name in found(tree) if name != "gone"] == ["p1/a", "p2/a"]


def test_no_folder_comes_twice(tree):
    (tree / "again").symlink_to("p1")
    (tree / "p3").symlink_to("../store/p2")
    assert found(tree) == ["p1/a", "p2/a"]
    (tree / "p4").symlink_to("../store")  # above what came already: p2 is in it
    assert len(found(tree)) <= 3


def test_scans_in_linked_folders(tmp_path):
    write_series(tmp_path / "store" / "p2", lung_hu(3))
    write_series(tmp_path / "cohort" / "p1", lung_hu(3))
    (tmp_path / "cohort" / "p2").symlink_to("../store/p2")
    inputs, problems, left_out = find_inputs([tmp_path / "cohort"])
    assert [item.name for item in inputs] == ["p1", "p2"] and problems == left_out == []


def test_pairs_in_linked_folders(tmp_path):
    for kind in ("image", "mask"):
        for folder in (tmp_path / kind / "1", tmp_path / "store" / kind / "2"):
            folder.mkdir(parents=True)
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "0.png")
        (tmp_path / kind / "2").symlink_to(f"../store/{kind}/2")
    pairs = pair_files(tmp_path / "image", tmp_path / "mask")
    assert [extra["patient"] for *_, extra in pairs] == ["1", "2"]
