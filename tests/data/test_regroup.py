"""Lesion data sets read as another mask type, by hand-made masks of 20 x 30 pixels."""

import copy
import json
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from PIL import Image

from ctmasknet.data import registration
from ctmasknet.data.classes import MASK_PRESETS
from ctmasknet.data.lesion_masks import lesion_instances, write_coco
from ctmasknet.data.registration import dataset_source, register_lesion_dataset, register_paths
from ctmasknet.data.regroup import regroup, regrouped_dataset
from ctmasknet.engine import Trainer, load_config
from ctmasknet.engine.setup import check_files

CONFIG = str(Path(__file__).parents[2] / "configs/lesion/R18_T1.yaml")
GGO, C = 1, 2


@pytest.fixture(autouse=True)
def clean_catalogs(monkeypatch):
    """Every test leaves the catalogs as they were."""
    for catalog in (DatasetCatalog, MetadataCatalog):
        monkeypatch.setattr(catalog, "data", dict(catalog.data))
    monkeypatch.setattr(registration, "_SOURCES", {})


def box(category, x, y, width, height, **keys):
    """A rectangular lesion in the first image."""
    mask = np.zeros((20, 30), np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    rle = mask_util.encode(mask)
    return {
        "image_id": 1,
        "category_id": category,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
        **keys,
    }


def coco_of(*lesions, names=("GGO", "C")):
    """Two images; the second has no lesion."""
    images = [{"id": i, "file_name": f"{i}.png", "height": 20, "width": 30} for i in (1, 2)]
    return {
        "images": images,
        "annotations": [{"id": i, **lesion} for i, lesion in enumerate(lesions, start=1)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
    }


# C touches the first GGO by a corner; the second GGO is apart.
BOTH = coco_of(box(GGO, 0, 0, 4, 4), box(C, 4, 4, 5, 2), box(GGO, 15, 10, 5, 5))


def summary(coco):
    return [(a["id"], a["category_id"], a["bbox"], a["area"]) for a in coco["annotations"]]


def test_merging_joins_what_touches_by_a_corner():
    before = copy.deepcopy(BOTH)
    merged = regroup(BOTH, "merge", 0)
    assert summary(merged) == [(1, 1, [0, 0, 9, 6], 26), (2, 1, [15, 10, 5, 5], 25)]
    union = sum(mask_util.decode(a["segmentation"]) for a in BOTH["annotations"][:2])
    assert np.array_equal(mask_util.decode(merged["annotations"][0]["segmentation"]), union)
    assert merged["categories"] == [{"id": 1, "name": "lesion"}]
    assert merged["images"] == BOTH["images"]
    assert merged["info"] == {"mask_type": "merge", "min_area": 0}
    assert before == BOTH


def test_merging_counts_overlapping_pixels_once():
    coco = coco_of(box(GGO, 0, 0, 4, 4), box(C, 2, 2, 4, 4))
    assert summary(regroup(coco, "merge", 27)) == [(1, 1, [0, 0, 6, 6], 28)]


def test_ggo_drops_consolidation():
    coco = regroup(BOTH, "ggo", 0)
    assert summary(coco) == [(1, 1, [0, 0, 4, 4], 16), (2, 1, [15, 10, 5, 5], 25)]
    assert coco["categories"] == [{"id": 1, "name": "GGO"}]


@pytest.mark.parametrize("mask_type", ["", "both"])
def test_the_same_classes_keep_their_instances(mask_type):
    touching = coco_of(box(C, 0, 0, 4, 4), box(C, 4, 0, 4, 4), box(GGO, 9, 9, 3, 3))
    coco = regroup(touching, mask_type, 9)
    assert summary(coco) == [(1, 2, [0, 0, 4, 4], 16), (2, 2, [4, 0, 4, 4], 16)]
    assert coco["info"] == {"mask_type": mask_type, "min_area": 9}


@pytest.mark.parametrize("mask_type", ["merge", "ggo", "both"])
def test_nothing_is_lost_by_reading_a_complete_file_as_another_type(mask_type):
    mask = np.random.default_rng(0).choice([0, 0, 0, 0, 1, 2], (20, 30)).astype(np.uint8)
    values = MASK_PRESETS["medseg"]
    everything = [{"image_id": 1, **x} for x in lesion_instances(mask, values, "both", 0)]
    found = regroup(coco_of(*everything), mask_type, 3)["annotations"]
    made = [{k: v for k, v in x.items() if k not in ("id", "image_id")} for x in found]
    assert len(made) > 3 and made == lesion_instances(mask, values, mask_type, 3)


@pytest.mark.parametrize("mask_type", ["merge", "ggo", "both"])
def test_an_area_of_exactly_the_minimum_is_background(mask_type):
    coco = coco_of(box(GGO, 0, 0, 4, 5), box(GGO, 10, 0, 3, 7))
    assert [a["area"] for a in regroup(coco, mask_type, 20)["annotations"]] == [21]


def test_area_is_that_of_the_mask_not_what_the_file_says():
    coco = coco_of(box(GGO, 0, 0, 4, 5, area=500), box(GGO, 10, 0, 3, 7, area=1))
    assert [a["area"] for a in regroup(coco, "both", 20)["annotations"]] == [21]


def test_classes_are_found_by_name():
    coco = coco_of(box(1, 0, 0, 4, 4), box(2, 15, 10, 5, 5), names=("C", "GGO"))
    assert [x[1] for x in summary(regroup(coco, "both", 0))] == [C, GGO]
    assert summary(regroup(coco, "ggo", 0)) == [(1, 1, [15, 10, 5, 5], 25)]


def test_polygons_and_uncompressed_masks():
    square = [[0, 0, 5, 0, 5, 5, 0, 5]]
    runs = {"size": [20, 30], "counts": [100, 5, 15, 5, 475]}  # columns 5 and 6, rows 0 to 4
    coco = coco_of(box(GGO, 0, 0, 5, 5, segmentation=square), box(C, 5, 0, 2, 5, segmentation=runs))
    assert summary(regroup(coco, "merge", 0)) == [(1, 1, [0, 0, 7, 5], 35)]
    assert regroup(coco, "both", 10)["annotations"] == [{**coco["annotations"][0], "area": 25}]


def test_crowds_stay_out_of_it():
    crowd = box(C, 3, 3, 2, 2, iscrowd=1)
    merged = regroup(coco_of(crowd, box(GGO, 0, 0, 4, 4)), "merge", 10)
    assert summary(merged) == [(1, 1, [0, 0, 4, 4], 16), (2, 1, [3, 3, 2, 2], 4)]
    assert [a["iscrowd"] for a in merged["annotations"]] == [0, 1]


@pytest.mark.parametrize(
    ("names", "mask_type", "message"),
    [
        (("lesion",), "both", "leaves out 'lesion' .*either of GGO .* as in 'lesion=lesion'"),
        (("GGO",), "merge", "found GGO alone.*use 'ggo', or write 'lesion=.'"),
        (("GGO", "C"), "all", "asks for the class 'all', but found GGO, C, .*both, merge, ggo"),
        (("GGO", "GGO"), "", "lesion class 'GGO': found more than once"),
        (("a=b",), "", "lesion class 'a=b': expected printable"),
    ],
)
def test_impossible_requests(names, mask_type, message):
    with pytest.raises(ValueError, match=message):
        regroup(coco_of(names=names), mask_type, 0)


def test_a_rule_keeps_and_merges_any_classes():
    coco = coco_of(
        box(1, 0, 0, 4, 4),
        box(2, 9, 9, 3, 3),
        box(3, 4, 4, 4, 4),
        box(2, 12, 9, 3, 3),
        names=("GGO", "effusion", "C"),
    )
    found = regroup(coco, "effusion,opacity=GGO+C", 0)
    assert found["categories"] == [{"id": 1, "name": "effusion"}, {"id": 2, "name": "opacity"}]
    assert [x[1:] for x in summary(found)] == [
        (1, [9, 9, 3, 3], 9),  # not merged: what touches stays apart
        (1, [12, 9, 3, 3], 9),
        (2, [0, 0, 8, 8], 32),
    ]
    assert [x[1:] for x in summary(regroup(coco, "opacity=C", 0))] == [(1, [4, 4, 4, 4], 16)]
    assert [x[1] for x in summary(regroup(coco, "lesion=*", 0))] == [1, 1]


def test_an_order_of_classes_is_followed_by_name():
    coco = coco_of(box(1, 0, 0, 4, 4), box(2, 9, 9, 3, 3), names=("nodule", "effusion"))
    for mask_type in ("", "nodule,effusion"):
        found = regroup(coco, mask_type, 0, ("effusion", "nodule"))
        assert [x["name"] for x in found["categories"]] == ["effusion", "nodule"]
        assert [x[1:3] for x in summary(found)] == [(2, [0, 0, 4, 4]), (1, [9, 9, 3, 3])]
    with pytest.raises(ValueError, match="classes nodule, effusion, expected .*run, nodule, scar;"):
        regroup(coco, "", 0, ("nodule", "scar"))
    # Renaming in a circle changes every class, though the names are the same.
    swapped = regroup(coco, "nodule=effusion,effusion=nodule", 0)
    assert [x[1:3] for x in summary(swapped)] == [(2, [0, 0, 4, 4]), (1, [9, 9, 3, 3])]


def test_classes_of_ones_own_can_be_kept():
    coco = coco_of(box(1, 0, 0, 4, 4), box(2, 9, 9, 2, 2), names=("lesion", "scar"))
    kept = regroup(coco, "", 4)
    assert summary(kept) == [(1, 1, [0, 0, 4, 4], 16)]
    assert (kept["categories"], kept["info"]["mask_type"]) == (coco["categories"], "")


@pytest.fixture
def lesions(tmp_path):
    """Path of lesions.json beside its two slices."""
    for i in (1, 2):
        Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / f"{i}.png")
    write_coco(BOTH, tmp_path / "lesions.json")
    return tmp_path / "lesions.json"


def test_derived_data_set(lesions, tmp_path):
    register_paths([str(lesions)])
    name = regrouped_dataset("lesions", "merge", 25, tmp_path / "new")
    assert name == "lesions_merge_min25"
    assert MetadataCatalog.get(name).json_file == str(tmp_path / "new" / f"{name}.json")
    ill, well = DatasetCatalog.get(name)
    assert [(a["category_id"], a["bbox"]) for a in ill["annotations"]] == [(0, [0, 0, 9, 6])]
    assert [ill["file_name"], well["file_name"]] == [str(tmp_path / f"{i}.png") for i in (1, 2)]
    assert well["annotations"] == []
    assert MetadataCatalog.get(name).thing_classes == ["lesion"]
    assert regrouped_dataset(name, "merge", 25, tmp_path / "new") == name


def test_the_source_of_a_derived_data_set(lesions, tmp_path):
    register_paths([str(lesions)])
    assert dataset_source(regrouped_dataset("lesions", "ggo", 0, tmp_path)) == str(lesions)
    register_lesion_dataset("by_name", lesions)
    name = regrouped_dataset("by_name", "both", 20, tmp_path)
    assert (name, dataset_source(name)) == ("by_name_min20", "by_name")


def test_what_is_right_already_is_used_as_it_is(lesions, tmp_path):
    register_paths([str(lesions)])
    for mask_type in ("", "both"):
        assert regrouped_dataset("lesions", mask_type, 9, tmp_path / "new") == "lesions"
    # No pixel count says so, but the per-image AP would skip the lesion by the area in the file.
    write_coco(coco_of(box(GGO, 0, 0, 4, 4, area=9)), lesions)
    assert regrouped_dataset("lesions", "", 9, tmp_path) == "lesions_min9"
    register_lesion_dataset("none", tmp_path / "none.json")
    assert regrouped_dataset("none", "merge", 9, tmp_path / "new") == "none"
    assert not (tmp_path / "new").exists()


def test_the_file_follows_its_source_and_its_folder(lesions, tmp_path):
    register_paths([str(lesions)])
    for folder, lesion in (("a", box(GGO, 0, 0, 4, 4)), ("b", box(C, 0, 0, 5, 5))):
        for _ in range(2):
            write_coco(coco_of(lesion), lesions)
            name = regrouped_dataset("lesions", "merge", 0, tmp_path / folder)
            (annotation,) = DatasetCatalog.get(name)[0]["annotations"]
            assert annotation["bbox"] == lesion["bbox"]
        assert MetadataCatalog.get(name).json_file == str(tmp_path / folder / f"{name}.json")


def test_every_reading_of_a_file_has_its_own_name(lesions, tmp_path):
    register_paths([str(lesions)])
    readings = [("x=GGO", ()), ("x=C", ()), ("x=GGO+C", ()), ("both", ("C", "GGO")), ("C,GGO", ())]
    names = [regrouped_dataset("lesions", rule, 0, tmp_path, order) for rule, order in readings]
    assert len(set(names[:4])) == 4 and names[3] == names[4]  # the last two are the same
    for name, count in zip(names, (2, 1, 2, 3, 3), strict=True):
        assert len(DatasetCatalog.get(name)[0]["annotations"]) == count


def test_a_taken_name_is_refused_before_anything_is_written(lesions, tmp_path):
    register_lesion_dataset("lesions_merge_min0", tmp_path / "other.json")
    register_paths([str(lesions)])
    with pytest.raises(ValueError, match=r"'lesions_merge_min0' is taken .*lesions\.json"):
        regrouped_dataset("lesions", "merge", 0, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": None}, "not a usable COCO instances file"),
        ({"categories": [{"id": 1, "name": "GGO"}, {"id": 2, "name": "GGO"}]}, "more than once"),
        (coco_of(box(GGO, 0, 0, 4, 4, segmentation=[[1, 1]])), "annotation 0: no valid polygon"),
        (
            {"images": [{**BOTH["images"][0], "height": 9}]},
            r"size \[20, 30\] .*expected \[9, 30\]",
        ),
    ],
)
def test_unusable_files_are_named(lesions, tmp_path, change, message):
    lesions.write_text(json.dumps({**BOTH, **change}))
    register_paths([str(lesions)])
    with pytest.raises(ValueError, match=rf"lesions\.json[:,] .*{message}"):
        regrouped_dataset("lesions", "merge", 0, tmp_path)


def load(lesions, *opts, **kwargs):
    keys = ["OUTPUT_DIR", str(lesions.parent / "out"), "INPUT.MASK_TYPE", "merge"]
    keys += [x for key in ("TRAIN", "TEST") for x in (f"DATASETS.{key}", f"('{lesions}',)")]
    return load_config(CONFIG, [*keys, *opts], **kwargs)


def test_training_and_evaluation_see_the_same_lesions(lesions, tmp_path):
    for _ in range(2):
        cfg = load(lesions, "INPUT.MIN_LESION_AREA", "25")
        assert cfg.DATASETS.TRAIN == cfg.DATASETS.TEST == ("lesions_merge_min25",)
    (name,) = cfg.DATASETS.TEST
    assert len(DatasetCatalog.get(name)[0]["annotations"]) == 1
    file = tmp_path / "out" / "datasets" / f"{name}.json"
    assert MetadataCatalog.get(name).json_file == str(file)
    assert len(json.loads(file.read_text())["annotations"]) == 1
    assert load(lesions, "INPUT.MIN_LESION_AREA", "0").DATASETS.TEST == ("lesions_merge_min0",)


@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated")  # called by Detectron2
def test_the_per_image_ap_has_the_minimum_area_of_the_config(lesions, tmp_path):
    (name,) = (cfg := load(lesions, "INPUT.MIN_LESION_AREA", "24")).DATASETS.TEST
    DatasetCatalog.get(name)  # fills the metadata, as a data loader does
    evaluator = Trainer.build_evaluator(cfg, name)
    evaluator.reset()
    silent = Instances((20, 30), pred_boxes=Boxes(torch.zeros(0, 4)), scores=torch.zeros(0))
    silent.pred_classes = torch.zeros(0, dtype=torch.int64)
    silent.pred_masks = torch.zeros(0, 20, 30)
    evaluator.process([{"image_id": 1}, {"image_id": 2}], [{"instances": silent}] * 2)
    assert evaluator.evaluate()["per_image_ap"]["silent_detector"] == 0.5


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("MASK_TYPE", "both", r"MASK_TYPE is 'both' with 2 .*GGO, C.*ROI_HEADS.NUM_CLASSES is 1"),
        ("MASK_TYPE", "a,,b", "INPUT.MASK_TYPE: mask type 'a,,b': lesion class '': expected 1 to"),
        ("MIN_LESION_AREA", "-1", "INPUT.MIN_LESION_AREA is -1, expected 0 or more"),
    ],
)
def test_keys_that_cannot_be(lesions, key, value, message):
    with pytest.raises(ValueError, match=message):
        load(lesions, f"INPUT.{key}", value, datasets=False)


def test_what_is_repaired_is_written_for_training_and_evaluation(lesions, tmp_path):
    items = [{k: v for k, v in x.items() if k != "bbox"} for x in BOTH["annotations"]]
    for number, item in enumerate(items):
        item["id"] = number
    lesions.write_text(json.dumps({**BOTH, "annotations": items}), encoding="utf-8-sig")
    cfg = load(
        lesions,
        "INPUT.MASK_TYPE",
        "both",
        "INPUT.MIN_LESION_AREA",
        "0",
        "MODEL.ROI_HEADS.NUM_CLASSES",
        "2",
    )
    (name,) = cfg.DATASETS.TRAIN
    written = json.loads(Path(MetadataCatalog.get(name).json_file).read_text(encoding="utf-8"))
    assert name == "lesions_min0" and cfg.DATASETS.TEST == (name,)
    found = [(x["id"], x["bbox"]) for x in written["annotations"]]
    assert found == [(k, x["bbox"]) for k, x in enumerate(BOTH["annotations"], 1)]
    assert [x["bbox"] for x in DatasetCatalog.get(name)[0]["annotations"]] == [x for _, x in found]


@pytest.mark.parametrize("key", ["TRAIN", "VALIDATION", "TEST"])
def test_every_part_of_a_run_is_checked_on_its_original_file(lesions, tmp_path, key):
    bad = tmp_path / "bad.json"
    cut = {**BOTH["annotations"][2]["segmentation"], "counts": [3, 4]}
    items = [*BOTH["annotations"][:2], {**BOTH["annotations"][2], "segmentation": cut}]
    bad.write_text(json.dumps({**BOTH, "annotations": items}))
    with pytest.raises(ValueError, match=r"bad\.json, annotation 2: not a usable RLE of 20 x 30"):
        load(lesions, f"DATASETS.{key}", f"('{bad}',)")


def test_training_on_crowds_alone_is_refused(lesions):
    items = [{**x, "iscrowd": 1} for x in BOTH["annotations"]]
    lesions.write_text(json.dumps({**BOTH, "annotations": items}))
    with pytest.raises(ValueError, match=r"all lesions of .* crowds .* set iscrowd 0"):
        check_files(load(lesions))
