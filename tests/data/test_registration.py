"""Names, files and Detectron2's catalogs."""

import json

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from ctmasknet.data.classes import IMAGE_CLASSES, MASK_PRESETS
from ctmasknet.data.lesion_masks import coco_from_pairs, write_coco
from ctmasknet.data.registration import (
    register_builtin,
    register_image_dataset,
    register_lesion_dataset,
    register_paths,
)


@pytest.fixture(autouse=True)
def clean_catalogs(monkeypatch):
    """Every test starts without the phantoms and leaves the catalogs as they were."""
    for catalog in (DatasetCatalog, MetadataCatalog):
        others = {name: value for name, value in catalog.data.items() if "phantom" not in name}
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


def test_missing_image_of_a_json(lesions):
    (lesions.parent / "well.png").unlink()
    register_lesion_dataset("mine", lesions)
    with pytest.raises(FileNotFoundError, match=r"well\.png: no such file; 1 of the files"):
        DatasetCatalog.get("mine")


def test_builtin_is_lazy_and_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    register_builtin()
    register_builtin()
    ours = {name for name in DatasetCatalog.list() if name.startswith("phantom")}
    kinds = ("", "lesion_merge_", "lesion_both_")
    assert ours == {f"phantom_{k}{split}" for k in kinds for split in ("train", "val", "test")}
    for name, file in (
        ("phantom_val", "val.csv"),
        ("phantom_lesion_both_test", "lesion_both_test.json"),
    ):
        with pytest.raises(FileNotFoundError, match=rf"phantom/{file}: .*make_phantom\.py"):
            DatasetCatalog.get(name)


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
