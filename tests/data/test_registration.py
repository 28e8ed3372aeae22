"""Names, files and Detectron2's catalogs."""

import json

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from ctmasknet.data.builtin import register_builtin
from ctmasknet.data.classes import IMAGE_CLASSES, MASK_PRESETS
from ctmasknet.data.lesion_masks import coco_from_pairs, write_coco
from ctmasknet.data.registration import (
    read_dataset,
    register_covidx_dataset,
    register_image_dataset,
    register_lesion_dataset,
    register_paths,
)
from ctmasknet.errors import collecting


@pytest.fixture(autouse=True)
def clean_catalogs(monkeypatch):
    """Every test starts without our data sets and leaves the catalogs as they were."""
    ours = ("phantom", "cncb", "medseg", "covidx")
    for catalog in (DatasetCatalog, MetadataCatalog):
        others = {k: value for k, value in catalog.data.items() if not k.startswith(ours)}
        monkeypatch.setattr(catalog, "data", others)


@pytest.fixture
def lesions(tmp_path):
    """lesions.json of one slice with one GGO and one without any."""
    pairs = []
    for name, value in (("ill", 2), ("well", 1)):
        image, mask = tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png"
        Image.fromarray(np.full((20, 30), 90, np.uint8)).save(image)
        Image.fromarray(np.full((20, 30), value, np.uint8)).save(mask)
        pairs.append((image, mask, {}))
    path = tmp_path / "lesions.json"
    write_coco(coco_from_pairs(pairs, tmp_path, MASK_PRESETS["cncb"], "both"), path)
    return path


@pytest.fixture
def slices(tmp_path):
    (tmp_path / "a.png").touch()
    path = tmp_path / "slices.csv"
    path.write_text("file,label,patient,scan\na.png,2,p,s\n")
    return path


def test_lesion_dataset(lesions):
    register_lesion_dataset("mine", lesions)
    register_lesion_dataset("mine", str(lesions))  # the same again
    ill, well = DatasetCatalog.get("mine")
    assert ill["file_name"] == str(lesions.parent / "ill.png")
    assert [(item["category_id"], item["bbox"]) for item in ill["annotations"]] == [
        (0, [0, 0, 30, 20])
    ]
    assert well["annotations"] == []
    metadata = MetadataCatalog.get("mine")
    assert metadata.thing_classes == ["GGO", "C"]
    assert (metadata.evaluator_type, metadata.json_file) == ("coco", str(lesions))


def test_image_dataset(slices):
    for _ in range(2):
        register_image_dataset("mine", slices)
    assert [record["label"] for record in DatasetCatalog.get("mine")] == [2]
    metadata = MetadataCatalog.get("mine")
    assert (metadata.evaluator_type, metadata.image_classes) == ("image", IMAGE_CLASSES)


def test_taken_names(lesions, slices, tmp_path):
    register_image_dataset("mine", slices)
    for register, file in (
        (register_image_dataset, tmp_path / "other.csv"),
        (register_lesion_dataset, lesions),
    ):
        with pytest.raises(ValueError, match=r"'mine' is taken.*not .*(other\.csv|lesions\.json)"):
            register("mine", file)
    with pytest.raises(ValueError, match="image_classes"):
        register_image_dataset("mine", slices, classes=("no", "yes"))
    DatasetCatalog.register("someone_elses", list)
    with pytest.raises(ValueError, match="'someone_elses' is taken"):
        register_image_dataset("someone_elses", slices)
    assert [record["label"] for record in DatasetCatalog.get("mine")] == [2]


def test_unusable_json(tmp_path):
    for name, text in {
        "a": "{",
        "b": "[]",
        "c": "{}",
        "d": '{"images": [], "annotations": []}',
    }.items():
        path = tmp_path / f"{name}.json"
        path.write_text(text)
        register_lesion_dataset(name, path)
        with pytest.raises(ValueError, match=rf"{name}\.json: not a usable COCO"):
            DatasetCatalog.get(name)


def test_names_of_lesion_classes_are_checked(lesions):
    coco = json.loads(lesions.read_text())
    coco["categories"][0]["name"] = "GGO, early"
    lesions.write_text(json.dumps(coco))
    register_lesion_dataset("mine", lesions)
    with pytest.raises(ValueError, match=r"\.json: lesion class 'GGO, early': expected printable"):
        DatasetCatalog.get("mine")


def test_missing_image_of_a_json(lesions):
    (lesions.parent / "well.png").unlink()
    register_lesion_dataset("mine", lesions)
    with pytest.raises(FileNotFoundError, match=r"well\.png: no such file; 1 of the files"):
        DatasetCatalog.get("mine")


def test_patients_of_lesions(lesions):
    coco = json.loads(lesions.read_text())
    coco["images"][0] |= {"patient": "p7", "scan": "p7_1"}
    lesions.write_text(json.dumps(coco))
    register_lesion_dataset("mine", lesions)
    ill, well = DatasetCatalog.get("mine")
    assert (ill["patient"], ill["scan"]) == ("p7", "p7_1")
    assert "patient" not in well


BUILTIN = {
    "phantom_val": ("phantom/val.csv", "ctmasknet prepare phantom`"),
    "phantom_lesion_both_test": ("phantom/lesion_both_test.json", "ctmasknet prepare phantom`"),
    "cncb_lesion_train": ("cncb_lesion/lesion_train.json", "ctmasknet prepare dataset cncb`"),
    "cncb_lesion_by_rank_val": (
        "cncb_lesion/lesion_by_rank_val.json",
        "ctmasknet prepare dataset cncb --by-rank`",
    ),
    "medseg_lesion_test": ("medseg_lesion/lesion_test.json", "ctmasknet prepare dataset medseg`"),
    "covidx_ct_v1_test": ("covidx_ct/test_COVIDx_CT-1.txt", "ctmasknet prepare covidx`"),
    "covidx_ct_v2b_train": ("covidx_ct/train_COVIDx_CT-2B.txt", "ctmasknet prepare covidx`"),
    "covidx_ct_v1_author_train": ("covidx_ct/train_COVIDx_CT-1.txt", "ctmasknet prepare covidx`"),
}


def test_builtin_is_lazy_and_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    register_builtin()
    register_builtin()
    kinds = ["phantom", "phantom_lesion_merge", "phantom_lesion_both", "medseg_lesion"]
    kinds += ["cncb_lesion", "cncb_lesion_by_rank"]
    kinds += [f"covidx_ct_{version}" for version in ("v1", "v2a", "v2b", "v3a", "v3b")]
    names = {f"{kind}_{split}" for kind in kinds for split in ("train", "val", "test")}
    assert names | {"covidx_ct_v1_author_train"} <= set(DatasetCatalog.list())
    for name, (file, script) in BUILTIN.items():
        with pytest.raises(FileNotFoundError) as caught:
            DatasetCatalog.get(name)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / file}: no such file")
        assert "expected the tree" in message
        assert script in message


@pytest.mark.parametrize("folder", ["images", "2A_images"])
def test_covidx_tree(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    root = tmp_path / "covidx_ct"
    root.mkdir()
    lines = ["NCP_1_2_0003.png 2 0 0 700 10\n", "CP_1_2_0003.png 1 0 0 10 10\n"]
    for version in ("1", "2A", "2B"):
        (root / f"train_COVIDx_CT-{version}.txt").write_text("".join(lines))
    register_builtin()
    with pytest.raises(FileNotFoundError, match=r"covidx_ct/images: no such .* expected the tree"):
        DatasetCatalog.get("covidx_ct_v2a_train")
    (root / folder).mkdir()
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(root / folder / "NCP_1_2_0003.png")
    with pytest.raises(
        FileNotFoundError, match=r"/CP_1_2_0003\.png: no such file; 1 of .*relative to .*images"
    ):
        DatasetCatalog.get("covidx_ct_v2a_train")
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(root / folder / "CP_1_2_0003.png")
    for version in ("v2a", "v2b"):  # the images of B may lie in A's folder
        ill, pneumonia = DatasetCatalog.get(f"covidx_ct_{version}_train")
        assert (ill["label"], ill["patient"], ill["body_box"]) == (2, "NCP_1", [0, 0, 700, 10])
        assert pneumonia["source"] == ""
    (root / "metadata.csv").write_text("patient id,source\nCP_1,CNCB\n")
    assert DatasetCatalog.get("covidx_ct_v2a_train")[1]["source"] == "CNCB"
    assert MetadataCatalog.get("covidx_ct_v2a_train").image_classes == IMAGE_CLASSES
    if folder == "2A_images":  # v1's images beside them are not taken for v2's
        (root / "images").mkdir()
        assert len(DatasetCatalog.get("covidx_ct_v2b_train")) == 2
    if folder == "images":
        with pytest.raises(FileNotFoundError, match=r"author_classification_train\.txt: no such"):
            DatasetCatalog.get("covidx_ct_v1_author_train")
        (root / "author_classification_train.txt").write_text("1_1_2_0003.png\n")
        (only,) = DatasetCatalog.get("covidx_ct_v1_author_train")
        assert only["image_id"] == "CP_1_2_0003.png"


def test_read_dataset_without_what_is_unusable(tmp_path, slices, lesions):
    (tmp_path / "list.txt").write_text("NCP_1_2_0003.png 2 0 0 7 7\nNCP_1_2_0004.png 2\n")
    register_covidx_dataset("covidx", tmp_path / "list.txt", [tmp_path])
    slices.write_text(slices.read_text() + "b.png,0,q,t\nc.png,7,q,t\n")
    register_image_dataset("mine", slices)
    (lesions.parent / "well.png").unlink()
    register_lesion_dataset("lesions", lesions)
    DatasetCatalog.register("foreign", lambda: [{"file_name": "x"}])
    found = {}
    for name in ("covidx", "mine", "lesions", "foreign"):
        errors = collecting()
        found[name] = (len(read_dataset(name, errors)), errors.messages)
    assert [count for count, _ in found.values()] == [1, 2, 2, 1]
    assert "list.txt, line 2: found 2 fields" in found["covidx"][1][0]
    assert "slices.csv, line 4: unknown label '7'" in found["mine"][1][0]
    assert found["lesions"][1] == []
    for name in ("covidx", "mine", "lesions"):
        with pytest.raises((ValueError, FileNotFoundError)):
            read_dataset(name)
    with pytest.raises(ValueError, match="'lesion' is not registered, nearest names: lesions"):
        read_dataset("lesion")


def test_register_paths(lesions, slices, tmp_path):
    register_builtin()
    names = register_paths([str(lesions), "phantom_train", str(slices)])
    assert names == ("lesions", "phantom_train", "slices")
    assert register_paths([str(lesions)]) == ("lesions",)
    assert len(DatasetCatalog.get("lesions")) == 2
    other = tmp_path / "elsewhere" / "lesions.json"
    other.parent.mkdir()
    other.write_text(json.dumps({}))
    with pytest.raises(ValueError, match="'lesions' is taken"):
        register_paths([str(other)])
    with pytest.raises(FileNotFoundError, match=r"none\.csv: no such dataset file"):
        register_paths([str(tmp_path / "none.csv")])
    with pytest.raises(ValueError, match="'phantom_trian' is not registered.* phantom_train"):
        register_paths(["phantom_trian"])
    assert register_paths([]) == ()
