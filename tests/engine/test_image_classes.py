"""Image lists with a user's own labels, from the config to the names in a prediction."""

from argparse import Namespace
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from ctmasknet.config import get_cfg
from ctmasknet.data.registration import register_image_dataset
from ctmasknet.engine.setup import check_files, load_config, set_up

CONFIG = str(Path(__file__).parents[2] / "configs/quick/ctmasknet_R18_T1.yaml")
HEADER = "file,label,patient,scan\n"


@pytest.fixture(autouse=True)
def clean_catalogs(monkeypatch):
    for catalog in (DatasetCatalog, MetadataCatalog):
        monkeypatch.setattr(catalog, "data", dict(catalog.data))


@pytest.fixture
def lists(tmp_path):
    """train.csv (well, ill, grave), val.csv without a grave one, test.csv."""

    def opts(train=("well", "ill", "grave"), test=("ill", "well")):
        Image.new("L", (32, 32)).save(tmp_path / "a.png")
        Image.new("L", (32, 32)).save(tmp_path / "b.png")
        Image.new("L", (32, 32)).save(tmp_path / "c.png")
        opts = ["OUTPUT_DIR", str(tmp_path / "out"), "MODEL.WEIGHTS", ""]
        parts = {"TRAIN": train, "VALIDATION": ("well", "ill"), "TEST": test}
        for key, labels in parts.items():
            path = tmp_path / f"{key.lower()}_list.csv"
            rows = [f"{file}.png,{label},p,s\n" for file, label in zip("abc", labels, strict=False)]
            path.write_text(HEADER + "".join(rows))
            opts += [f"DATASETS.{key}", f"('{path}',)"]
        return opts

    return opts


def test_names_are_found_sorted_and_saved(lists, tmp_path):
    cfg = load_config(CONFIG, lists())
    assert cfg.DATASETS.IMAGE_CLASSES == ("grave", "ill", "well")
    check_files(cfg)
    labels = [record["label"] for record in DatasetCatalog.get("test_list")]
    assert labels == [1, 2]  # the same numbers where a name is missing
    set_up(cfg, Namespace())
    saved = get_cfg()
    saved.merge_from_file(str(tmp_path / "out" / "config.yaml"))
    assert tuple(saved.DATASETS.IMAGE_CLASSES) == ("grave", "ill", "well")


def test_order_can_be_given(lists):
    cfg = load_config(CONFIG, [*lists(), "DATASETS.IMAGE_CLASSES", "('well','ill','grave')"])
    check_files(cfg)
    assert [record["label"] for record in DatasetCatalog.get("train_list")] == [0, 1, 2]


def test_other_number_of_classes(lists):
    cfg = load_config(CONFIG, lists(train=("well", "ill")))
    with pytest.raises(ValueError, match=r"2 classes \(ill, well\), but .*NUM_CLASSES is 3: set"):
        check_files(cfg)
    check_files(
        load_config(CONFIG, [*lists(train=("well", "ill")), "MODEL.IMAGE_HEAD.NUM_CLASSES", "2"])
    )


def test_unknown_label_names_its_line(lists):
    given = ["DATASETS.IMAGE_CLASSES", "('well','ill','grave')"]
    cfg = load_config(CONFIG, [*lists(test=("ill", "dead")), *given])
    with pytest.raises(ValueError, match=r"test_list\.csv, line 3: unknown label 'dead'"):
        check_files(cfg)


def test_papers_names_and_numbers(lists):
    opts = lists(train=("Control", "1", "COVID-19"), test=("0", "2"))
    path = opts[opts.index("DATASETS.VALIDATION") + 1]
    Path(path[2:-3]).write_text(HEADER + "a.png,2,p,s\n")
    cfg = load_config(CONFIG, opts)
    assert cfg.DATASETS.IMAGE_CLASSES == ("Control", "Common Pneumonia", "COVID-19")
    check_files(cfg)


def test_classes_of_a_registered_data_set(lists, tmp_path):
    opts = lists()
    register_image_dataset("mine", tmp_path / "train_list.csv", classes=("well", "ill", "grave"))
    cfg = load_config(CONFIG, [*opts, "DATASETS.TRAIN", "('mine',)"])
    assert cfg.DATASETS.IMAGE_CLASSES == ("well", "ill", "grave")
    check_files(cfg)
    for key in ("VALIDATION", "TEST"):
        opts += [f"DATASETS.{key}", "()"]
    opts += ["DATASETS.TRAIN", "('mine',)", "DATASETS.IMAGE_CLASSES", "('ill','well','grave')"]
    with pytest.raises(ValueError, match="mine has the classes well, ill, grave, expected ill"):
        check_files(load_config(CONFIG, opts))
