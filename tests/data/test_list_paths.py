"""Lists name files below their own folder, or below one that the user allows."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from PIL import Image
from slice_lists import write_slices

from ctmasknet.command_line import new_parser
from ctmasknet.data import list_paths
from ctmasknet.data.covidx import read_covidx_list
from ctmasknet.data.image_lists import load_image_list
from ctmasknet.data.lesion_free import prepare_lesion_free
from ctmasknet.data.lesion_masks import lesion_categories
from ctmasknet.data.list_files import COLUMNS, write_csv
from ctmasknet.data.list_paths import allow_data_roots, listed_path, reading_advice, relative_path
from ctmasknet.data.prepare import prepare_lesion_masks
from ctmasknet.data.registration import register_lesion_dataset
from ctmasknet.data.regroup import regrouped_dataset
from ctmasknet.data.splits import split_file
from ctmasknet.engine import load_config
from ctmasknet.errors import collecting
from ctmasknet.volumes.volume_list import read_volume_list

OUTSIDE = "lies outside .*add --data-root {0}, or a folder above it"


@pytest.fixture(autouse=True)
def nothing_allowed(monkeypatch):
    monkeypatch.setenv(list_paths.VARIABLE, "")


@pytest.fixture
def folders(tmp_path):
    """lists/in.png and images/{1,2}.png."""
    for name in ("lists/in.png", "images/1.png", "images/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / name)
    return tmp_path


def image_list(path, *files):
    rows = [(str(file), "Control", f"P{i}", f"S{i}") for i, file in enumerate(files)]
    write_csv(path, COLUMNS, [dict(zip(COLUMNS, row, strict=True)) for row in rows])
    return path


def coco_file(path, *files):
    images = [
        {"id": i, "file_name": str(file), "height": 64, "width": 64, "patient": f"P{i}"}
        for i, file in enumerate(files)
    ]
    lesion = {
        **{"id": 1, "image_id": 0, "category_id": 1, "iscrowd": 0, "area": 81},
        **{"bbox": [5, 5, 9, 9], "segmentation": [[5, 5, 14, 5, 14, 14, 5, 14]]},
    }
    coco = {"images": images, "annotations": [lesion], "categories": lesion_categories(["lesion"])}
    path.write_text(json.dumps(coco))
    return path


@pytest.mark.parametrize("name", ["in.png", "./in.png", "a/../in.png", "..in.png", "a/..b/c.png"])
def test_names_below_the_folder(folders, name):
    assert listed_path(name, folders / "lists") == os.path.join(folders / "lists", name)


def test_absolute_names_below_the_folder(folders, monkeypatch):
    monkeypatch.chdir(folders / "lists")
    name = str(folders / "lists" / "in.png")
    assert listed_path(name, "") == listed_path(name, ".") == name


@pytest.mark.parametrize(
    "name", ["../images/1.png", "/etc/passwd", "a/../../images/1.png", "..", "a/../..", "/"]
)
def test_names_elsewhere_are_refused(folders, name):
    with pytest.raises(ValueError, match="lies outside"):
        listed_path(name, folders / "lists")


def test_what_the_error_says_is_enough(folders):
    for name in ("../images/1.png", str(folders / "images" / "1.png")):
        with pytest.raises(ValueError) as error:
            listed_path(name, folders / "lists")
        root = str(error.value).split("--data-root ")[1].split(", or")[0]
        assert root == str(folders / "images")
    allow_data_roots([root])
    assert listed_path("../images/1.png", folders / "lists")
    assert listed_path(str(folders / "images" / "1.png"), folders / "lists")
    with pytest.raises(ValueError, match="lies outside"):
        listed_path("../imagesx/1.png", folders / "lists")


def test_links_below_the_folder_are_followed_but_not_climbed_out_of(folders):
    lists = folders / "lists"
    (folders / "store" / "deep").mkdir(parents=True)
    (lists / "link").symlink_to(folders / "store" / "deep")
    (lists / "1.png").symlink_to(folders / "images" / "1.png")
    for name in ("link/1.png", "1.png", str(lists / "link" / "1.png"), "x/../1.png"):
        assert listed_path(name, lists)
    with pytest.raises(ValueError, match=OUTSIDE.format(folders / "store")):
        listed_path("link/../1.png", lists)  # the system reads store/1.png


def test_relative_paths_keep_links_below_the_folder(folders):
    (folders / "lists" / "link").symlink_to(folders / "images")
    file = folders / "lists" / "link" / "1.png"
    assert relative_path(file, folders / "lists") == "link/1.png"
    assert relative_path(folders / "images" / "1.png", folders / "lists") == "../images/1.png"


def test_folders_are_allowed_once_and_must_be_there(folders, monkeypatch):
    monkeypatch.chdir(folders)
    allow_data_roots(["images", str(folders / "images"), "lists"])
    assert os.environ[list_paths.VARIABLE] == f"{folders / 'images'}:{folders / 'lists'}"
    for wrong in (str(folders / "gone"), str(folders / "images" / "1.png"), 3):
        with pytest.raises(ValueError, match=r"no such folder \(--data-root"):
            allow_data_roots([wrong])
    (folders / "a:b").mkdir()
    with pytest.raises(ValueError, match="give a link to it"):
        allow_data_roots([str(folders / "a:b")])


def test_the_option(folders, capsys):
    parser = new_parser("")
    list_paths.add_data_root(parser)
    assert vars(parser.parse_args(["--data-root", str(folders)])) == {}
    assert os.environ[list_paths.VARIABLE] == str(folders)
    with pytest.raises(SystemExit):
        parser.parse_args(["--data-root", str(folders / "gone")])
    assert "no such folder" in capsys.readouterr().err


def readers(folders):
    lists, output = folders / "lists", folders / "output"
    for number, name in enumerate(("../images/1.png", folders / "images" / "1.png")):
        csv_file = image_list(lists / f"{number}.csv", "in.png", name)
        coco = coco_file(lists / f"{number}.json", "in.png", name)
        covidx = lists / f"{number}.txt"
        slice_name = str(name).replace("1.png", "NCP_1_2_0003.png")
        covidx.write_text(f"{slice_name} 2 1 1 9 9\n")
        register_lesion_dataset(f"elsewhere_{number}", coco)
        yield f"{csv_file}, line 3", lambda file=csv_file: load_image_list(file)
        yield f"{csv_file}, line 3", lambda file=csv_file: read_volume_list(file)
        yield f"{csv_file}, line 3", lambda file=csv_file: split_file(file, HALVES, 0, output)
        yield (
            f"{csv_file}, line 3",
            lambda file=csv_file, coco=coco: prepare_lesion_free(file, output / "x.json", coco),
        )
        yield f"{coco}, image 1", lambda n=number: DatasetCatalog.get(f"elsewhere_{n}")
        yield (
            f"{coco}, image 1",
            lambda n=number: regrouped_dataset(f"elsewhere_{n}", "merge", 100, output),
        )
        yield f"{coco}, image 1", lambda file=coco: split_file(file, HALVES, 0, output)
        yield f"{covidx}, line 1", lambda file=covidx: read_covidx_list(file, lists)


HALVES = {"train": 1, "test": 1}


def test_every_reader_of_lists_says_where_and_what_to_add(folders):
    (folders / "output").mkdir()
    for place, read in readers(folders):
        with pytest.raises(ValueError, match=OUTSIDE.format(folders / "images")) as error:
            read()
        assert str(error.value).startswith(place)
    assert list((folders / "output").iterdir()) == []
    allow_data_roots([str(folders / "images")])
    for _, read in readers(folders):
        read()


def test_a_line_that_leads_elsewhere_is_one_bad_line(folders):
    file = image_list(folders / "lists" / "a.csv", "../images/1.png", "in.png")
    errors = collecting()
    assert [x["image_id"] for x in load_image_list(file, errors=errors)] == ["in.png"]
    assert errors.first.startswith(f"{file}, line 2: ../images/1.png lies outside")


def test_a_config_allows_folders(folders):
    file = image_list(folders / "lists" / "of_config.csv", "../images/1.png")
    data = ["DATASETS.TRAIN", (str(file),), "DATASETS.DATA_ROOT"]
    cfg = load_config("quick/ctmasknet_R18_T1", [*data, (str(folders / "images"),)])
    assert len(DatasetCatalog.get(cfg.DATASETS.TRAIN[0])) == 1
    with pytest.raises(ValueError, match="no such folder"):
        load_config("quick/ctmasknet_R18_T1", [*data, (str(folders / "gone"),)])


def test_lists_of_our_own_are_read_again(folders):
    write_slices(folders / "lists" / "six.csv", 6)
    split_file(folders / "lists" / "six.csv", HALVES, 0, folders / "lists")
    assert load_image_list(folders / "lists" / "six_train.csv")
    text = split_file(folders / "lists" / "six.csv", HALVES, 0, folders / "images")
    part = folders / "images" / "six_train.csv"
    advice = f"{part} names files outside its folder: what reads it needs --data-root "
    assert f"{advice}{folders / 'lists'}" in text
    with pytest.raises(ValueError, match="lies outside"):
        load_image_list(part)
    allow_data_roots([str(folders / "lists")])
    with part.open() as stream:
        assert len(load_image_list(part)) == len(list(csv.DictReader(stream)))


def test_masks_elsewhere_are_said(folders):
    for name in ("image/p1/1.png", "image/p2/1.png", "mask/p1/1.png", "mask/p2/1.png"):
        (folders / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32), 2 * name.startswith("mask"), np.uint8)).save(
            folders / name
        )
    pair = folders / "image", folders / "mask"
    assert "--data-root" not in prepare_lesion_masks(*pair, folders / "lesions.json")
    text = prepare_lesion_masks(*pair, folders / "lists" / "lesions.json")
    assert text.endswith(f"what reads it needs --data-root {folders / 'image'}")


def test_advice_is_of_names_above_the_folder_alone():
    file = Path("/data/lists/a.csv")
    assert reading_advice(file, ["a.png", "b/..c.png", "..d/e.png"]) == []
    assert reading_advice(file, ["a.png", "../x/1/a.png", "../x/2/b.png"]) == [
        f"{file} names files outside its folder: what reads it needs --data-root /data/x"
    ]


def test_files_of_a_run_are_read_wherever_their_images_lie(folders):
    """What a run regroups into its output names images by absolute paths."""
    register_lesion_dataset("regrouped", coco_file(folders / "lists" / "regrouped.json", "in.png"))
    name = regrouped_dataset("regrouped", "opacity=lesion", 0, folders / "run")
    assert name != "regrouped"
    (record,) = DatasetCatalog.get(name)
    assert record["file_name"] == str(folders / "lists" / "in.png")
