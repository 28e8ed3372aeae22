"""Lesion classes of one's own: data sets matched by name, and names from masks to predictions."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from PIL import Image
from slice_lists import write_slices
from tiny_models import tiny_model

from ctmasknet.checkpoint.settings import settings_of
from ctmasknet.config import get_cfg
from ctmasknet.data import registration
from ctmasknet.data.prepare import prepare_lesion_masks
from ctmasknet.engine import Trainer, load_config, set_up
from ctmasknet.engine.setup import check_files
from ctmasknet.inference import Predictor

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ("nodule", "effusion")
SMALL = {
    "MODEL.PRECISION": "float32",
    "MODEL.ROI_HEADS.NUM_CLASSES": "2",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": "30",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "30",
    "MODEL.RANKED_BOXES.NUM": "8",
    "MODEL.IMAGE_HEAD.FC_DIM": "8",
    "INPUT.MIN_SIZE_TRAIN": "(64,)",
    "INPUT.MIN_SIZE_TEST": "64",
    "INPUT.MIN_LESION_AREA": "0",
    "SOLVER.IMS_PER_BATCH": "2",
    "SOLVER.MAX_ITER": "1",
    "TEST.BOOTSTRAP_RESAMPLES": "2",
    "DATALOADER.NUM_WORKERS": "0",
}


@pytest.fixture(autouse=True)
def clean_catalogs(monkeypatch):
    """Every test leaves the catalogs as they were."""
    for catalog in (DatasetCatalog, MetadataCatalog):
        monkeypatch.setattr(catalog, "data", dict(catalog.data))
    monkeypatch.setattr(registration, "_SOURCES", {})


def write_lesions(path, ids):
    """Write a COCO file of a nodule and an effusion on one slice; `ids` are name -> category id."""
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(path.parent / "slice.png")
    boxes = {"nodule": [8, 8, 12, 12], "effusion": [30, 40, 30, 16]}
    annotations = [
        {
            "id": index,
            "image_id": 1,
            "category_id": ids[name],
            "bbox": [x, y, w, h],
            "area": w * h,
            "iscrowd": 0,
            "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
        }
        for index, (name, (x, y, w, h)) in enumerate(boxes.items(), start=1)
        if name in ids
    ]
    content = {
        "images": [{"id": 1, "file_name": "slice.png", "height": 64, "width": 64}],
        "annotations": annotations,
        "categories": [{"id": k, "name": name} for name, k in ids.items()],
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def load(tmp_path):
    """Load a config of data sets that number the classes as given."""

    def load(opts=(), resume=False, **parts):
        fixed = [*itertools.chain(*SMALL.items()), "OUTPUT_DIR", str(tmp_path / "out")]
        opts = [*fixed, "INPUT.MASK_TYPE", "", *opts]
        for key in ("TRAIN", "VALIDATION", "TEST"):
            ids = parts.get(key.lower())
            file = ids and write_lesions(tmp_path / f"{key.lower()}_part.json", ids)
            opts += [f"DATASETS.{key}", f"('{file}',)" if file else "()"]
        return load_config(str(CONFIGS / "quick/lesion_R18_T1.yaml"), opts, resume=resume)

    return load


def labels(name):
    """Class names and labels of a data set's lesions, as training has them: nodule, effusion."""
    lesions = DatasetCatalog.get(name)[0]["annotations"]
    lesions.sort(key=lambda item: item["bbox"])
    return MetadataCatalog.get(name).thing_classes, [item["category_id"] for item in lesions]


def test_data_sets_are_matched_by_the_names_of_their_classes(load):
    cfg = load(
        train={"effusion": 2, "nodule": 1},
        validation={"nodule": 2, "effusion": 1},
        test={"effusion": 7, "nodule": 3},
    )
    assert cfg.DATASETS.LESION_CLASSES == NAMES
    assert cfg.DATASETS.TRAIN == ("train_part",)  # used as it is, and so is what counts otherwise
    (reordered,) = cfg.DATASETS.VALIDATION
    assert reordered.startswith("validation_part_nodule_effusion_") and reordered.endswith("_min0")
    assert cfg.DATASETS.TEST == ("test_part",)
    check_files(cfg)
    for key in ("TRAIN", "VALIDATION", "TEST"):
        assert labels(*cfg.DATASETS[key]) == (list(NAMES), [0, 1])


@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated")  # called by Detectron2
def test_a_perfect_model_is_perfect_on_a_file_with_the_categories_the_other_way_round(load):
    cfg = load(train={"nodule": 1, "effusion": 2}, validation={"effusion": 1, "nodule": 2})
    (name,) = cfg.DATASETS.VALIDATION
    DatasetCatalog.get(name)  # fills the metadata, as a data loader does
    evaluator = Trainer.build_evaluator(cfg, name)
    evaluator.reset()
    perfect = Instances((64, 64), scores=torch.ones(2), pred_classes=torch.tensor([0, 1]))
    perfect.pred_boxes = Boxes(torch.tensor([[8.0, 8, 20, 20], [30, 40, 60, 56]]))
    perfect.pred_masks = torch.zeros(2, 64, 64)
    perfect.pred_masks[0, 8:20, 8:20] = perfect.pred_masks[1, 40:56, 30:60] = 1
    evaluator.process([{"image_id": 1}], [{"instances": perfect}])
    found = evaluator.evaluate()
    assert found["bbox"]["AP"] == found["segm"]["AP"] == pytest.approx(100)
    assert found["segm"]["AP_nodule"] == found["segm"]["AP_effusion"] == pytest.approx(100)


def test_other_classes_are_refused_with_both_lists(load):
    message = r"test_part\.json: .*classes nodule, scar, expected .*run, nodule, effusion"
    with pytest.raises(ValueError, match=message):
        load(train={"nodule": 1, "effusion": 2}, test={"nodule": 1, "scar": 2})
    message = r"train_part\.json: .*classes nodule, effusion, expected .*run, nodule, scar"
    with pytest.raises(ValueError, match=message):
        given = ["DATASETS.LESION_CLASSES", "('nodule','scar')"]
        load(given, train={"nodule": 1, "effusion": 2})


def test_the_order_can_be_given(load):
    given = ["DATASETS.LESION_CLASSES", "('effusion','nodule')"]
    given += ["INPUT.MASK_TYPE", "nodule,effusion"]
    cfg = load(given, train={"nodule": 1, "effusion": 2})
    assert cfg.DATASETS.LESION_CLASSES == ("effusion", "nodule")
    assert labels(*cfg.DATASETS.TRAIN) == (["effusion", "nodule"], [1, 0])


def test_the_number_of_classes_is_compared(load):
    one = ["MODEL.ROI_HEADS.NUM_CLASSES", "1"]
    for opts in (one, [*one, "INPUT.MASK_TYPE", "nodule,effusion"]):
        with pytest.raises(ValueError, match=r"2 classes \(nodule, eff.* is 1: set it to 2"):
            load(opts, train={"nodule": 1, "effusion": 2})
    with pytest.raises(ValueError, match="LESION_CLASSES has 1 class .*is 2: set it to 1"):
        load(["DATASETS.LESION_CLASSES", "('nodule',)"])
    with pytest.raises(ValueError, match="DATASETS.LESION_CLASSES: lesion class 'a,b'"):
        load(["DATASETS.LESION_CLASSES", "('a,b','c')"])


def test_a_checkpoint_with_the_same_classes_gives_their_order(load, tmp_path):
    model = tiny_model("lesion", "MODEL.ROI_HEADS.NUM_CLASSES", 2)
    content = {"model": model.state_dict(), "settings": settings_of(model, ("effusion", "nodule"))}
    torch.save(content, tmp_path / "made.pth")
    weights = ["MODEL.WEIGHTS", str(tmp_path / "made.pth")]
    cfg = load(weights, train={"nodule": 1, "effusion": 2})
    assert cfg.DATASETS.LESION_CLASSES == ("effusion", "nodule")
    assert labels(*cfg.DATASETS.TRAIN) == (["effusion", "nodule"], [1, 0])
    other = load(weights, test={"nodule": 1, "cyst": 2})
    assert other.DATASETS.LESION_CLASSES == ("nodule", "cyst")
    with pytest.raises(ValueError, match="effusion, nodule, in .* here they are nodule, cyst"):
        Trainer.evaluate_checkpoint(other)


def test_a_run_goes_on_with_the_order_of_its_last_checkpoint(load, tmp_path):
    model = tiny_model("lesion", "MODEL.ROI_HEADS.NUM_CLASSES", 2)
    (tmp_path / "out").mkdir()
    content = {"model": model.state_dict(), "settings": settings_of(model, NAMES[::-1])}
    torch.save(content, tmp_path / "out" / "model_0000000.pth")
    (tmp_path / "out" / "last_checkpoint").write_text("model_0000000.pth")
    for resume in (True, False):
        cfg = load(train={"nodule": 1, "effusion": 2}, resume=resume)
        assert cfg.DATASETS.LESION_CLASSES == (NAMES[::-1] if resume else NAMES)


def test_nothing_guesses_the_classes_of_weights_without_names(load, tmp_path):
    (tmp_path / "run").mkdir()
    weights = tmp_path / "run" / "bare.pth"
    torch.save({"model": tiny_model("lesion").state_dict()}, weights)
    opts, swapped = ["MODEL.WEIGHTS", str(weights)], {"effusion": 1, "nodule": 2}
    message = r"bare\.pth: does not tell .*LESION_CLASSES \"\('effusion', 'nodule'\)"
    with pytest.raises(ValueError, match=message):
        load(opts, test=swapped)
    for told in (
        ["DATASETS.LESION_CLASSES", "('nodule','effusion')"],
        ["INPUT.MASK_TYPE", "nodule,effusion"],
    ):
        assert load([*opts, *told], test=swapped).DATASETS.LESION_CLASSES == NAMES
    assert load(opts, train=swapped).DATASETS.LESION_CLASSES == NAMES[::-1]  # training decides
    run = get_cfg()
    run.MODEL.ROI_HEADS.NUM_CLASSES, run.DATASETS.LESION_CLASSES = 2, NAMES
    (tmp_path / "run" / "config.yaml").write_text(run.dump())
    assert load(opts, test=swapped).DATASETS.LESION_CLASSES == NAMES
    with pytest.raises(ValueError, match="classes nodule, scar, expected .*run, nodule, effusion"):
        load(opts, test={"nodule": 1, "scar": 2})


@pytest.fixture
def drawn(tmp_path):
    """lesions.json of eight slices with masks: 1 nodule, 2 effusion."""
    generator = np.random.default_rng(0)
    for kind in ("image", "mask"):
        (tmp_path / kind).mkdir()
    for index in range(8):
        mask = np.zeros((64, 64), np.uint8)
        mask[8 + index : 24 + index, 10:26] = 1
        mask[44:60, 30:60] = 2
        pixels = (mask * 80 + generator.integers(0, 40, mask.shape)).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / "mask" / f"{index}.png")
        Image.fromarray(pixels).save(tmp_path / "image" / f"{index}.png")
    folders = tmp_path / "image", tmp_path / "mask"
    prepare_lesion_masks(*folders, tmp_path / "lesions.json", values="1=nodule,2=effusion")
    return tmp_path / "lesions.json"


def train(config, output, files, *opts):
    """Train a quick config for one iteration; returns the config that the run has saved."""
    opts = [*itertools.chain(*SMALL.items()), "OUTPUT_DIR", str(output), *opts]
    for key, file in zip(("TRAIN", "VALIDATION", "TEST"), files, strict=True):
        opts += [f"DATASETS.{key}", f"('{file}',)"]
    cfg = load_config(str(CONFIGS / "quick" / f"{config}.yaml"), opts)
    check_files(cfg)
    set_up(cfg)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    saved = get_cfg()
    saved.merge_from_file(str(output / "config.yaml"))
    return saved


def test_names_go_from_masks_to_predictions_of_both_models(drawn, tmp_path):
    lesion, image = tmp_path / "lesion_run", tmp_path / "image_run"
    saved = train("lesion_R18_T1", lesion, [drawn] * 3, "INPUT.MASK_TYPE", "")
    assert tuple(saved.DATASETS.LESION_CLASSES) == NAMES
    results = json.loads((lesion / "results.json").read_text())["metrics"]["lesions"]
    assert {"AP_nodule", "AP_effusion"} <= set(results["segm"])

    lists = [write_slices(tmp_path / f"{part}_list.csv", 3) for part in ("train", "val", "test")]
    weights = ("MODEL.WEIGHTS", str(lesion / "model_final.pth"))
    with pytest.raises(ValueError, match=r"has 2 classes \(nodule, eff.*1: set it to 2$"):
        one = ("MODEL.ROI_HEADS.NUM_CLASSES", "1")
        train("ctmasknet_R18_T1", image, lists, *weights, *one)
    saved = train("ctmasknet_R18_T1", image, lists, *weights)
    assert tuple(saved.DATASETS.LESION_CLASSES) == NAMES
    assert saved.INPUT.MASK_TYPE == "merge"  # of the base config: nothing asks for it
    for folder in (lesion, image):
        content = torch.load(folder / "model_final.pth", weights_only=True)
        assert content["settings"]["DATASETS.LESION_CLASSES"] == "nodule,effusion"
        predictor = Predictor(folder, min_score=0.0)
        assert predictor.lesion_classes == NAMES
        prediction = predictor.predict(np.zeros((64, 64), np.uint8))
        assert {found.lesion_class for found in prediction.instances} <= set(NAMES)
    named = json.loads(content["settings"]["DATASETS.IMAGE_CLASSES"])  # of the CT-Mask-Net
    assert tuple(named) == tuple(saved.DATASETS.IMAGE_CLASSES) and len(named) == 3
    assert set(prediction.ranked_boxes.lesion_classes) <= set(NAMES)
