"""Ranked rows computed once, and training and validating on them."""

import copy
import hashlib
import io
import itertools
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, build_detection_test_loader
from detectron2.modeling import build_model
from detectron2.utils import comm
from PIL import Image
from slice_lists import write_slices
from tiny_models import fast_model, tiny_cfg

from ctmasknet.data.mapper import SliceMapper
from ctmasknet.engine import Trainer, load_config
from ctmasknet.engine.ranked_cache import (
    build_ranked_train_loader,
    ranked_boxes,
    rows_are_cached,
    what_varies,
)

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

CONFIG = str(Path(__file__).parents[2] / "configs/quick/ctmasknet_R18_T1.yaml")
SMALL = {
    "MODEL.TRAINABLE": "heads",
    "MODEL.PRECISION": "float32",
    "INPUT.RANDOM_FLIP": "none",
    "INPUT.MIN_SIZE_TRAIN": "(64,)",
    "INPUT.MIN_SIZE_TEST": "64",
    "SOLVER.IMS_PER_BATCH": "2",
    "SOLVER.BASE_LR": "0.01",
    "SOLVER.MAX_ITER": "4",
    "SOLVER.LR_SCHEDULER_NAME": "WarmupMultiStepLR",
    "TEST.EVAL_PERIOD": "2",
    "TEST.BOOTSTRAP_RESAMPLES": "20",
    "DATALOADER.NUM_WORKERS": "0",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "30",
    "MODEL.RANKED_BOXES.NUM": "32",
    "MODEL.RANKED_BOXES.FILL": "random",  # what is drawn must agree, too
    "MODEL.IMAGE_HEAD.FC_DIM": "8",
}


@pytest.fixture(scope="module")
def opts(tmp_path_factory):
    """Overrides for 6 slices to train on and 3 to validate on, and a model's weights."""
    root = tmp_path_factory.mktemp("ranked")
    found = [*itertools.chain(*SMALL.items()), "DATASETS.TEST", "()"]
    for key, part, count in (("TRAIN", "train", 6), ("VALIDATION", "val", 3)):
        found += [f"DATASETS.{key}", f"('{write_slices(root / f'ranked_{part}.csv', count)}',)"]
    torch.manual_seed(0)
    model = build_model(load_config(CONFIG, [*found, "OUTPUT_DIR", str(root)]))
    torch.save({"model": model.state_dict()}, root / "weights.pth")
    return [*found, "MODEL.WEIGHTS", str(root / "weights.pth")]


@pytest.fixture
def log(caplog):
    """Catch log lines even if another test has set up Detectron2's logs, which do not propagate."""
    logger = logging.getLogger("ctmasknet.engine")
    caplog.set_level(logging.INFO, logger.name)
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def trainer_of(opts, output, *more, kind=Trainer):
    output.mkdir(exist_ok=True)
    torch.manual_seed(1)
    trainer = kind(load_config(CONFIG, [*opts, "OUTPUT_DIR", str(output), *more]))
    trainer.resume_or_load(resume=False)
    return trainer


def never(*_):
    raise AssertionError("the network was run")


def test_training_and_validation_are_those_without_a_cache(opts, tmp_path, monkeypatch):
    monkeypatch.setattr(comm, "shared_random_seed", lambda: 5)  # the same order of images each time
    heads, metrics = [], []
    for folder in ("none", str(tmp_path / "kept"), str(tmp_path / "kept")):
        output = tmp_path / str(len(heads))
        trainer = trainer_of(opts, output, "DATALOADER.RANKED_BOXES_FOLDER", folder)
        before = trainer.model.image_head.fc1.weight.clone()
        if len(heads) == 2:  # all is in the files
            trainer.model.backbone.register_forward_pre_hook(never)
        trainer.train()
        assert not torch.allclose(before, trainer.model.image_head.fc1.weight, atol=1e-3)
        heads.append(torch.load(output / "model_final.pth", weights_only=True)["model"])
        lines = map(json.loads, (output / "metrics.json").read_text().splitlines())
        metrics.append([{k: v for k, v in x.items() if "/" in k} for x in lines])
    assert len(list((tmp_path / "kept").iterdir())) == 2  # train and val
    for head, own in zip(heads[1:], metrics[1:], strict=True):
        for name, expected in heads[0].items():
            torch.testing.assert_close(head[name], expected, rtol=0, atol=1e-5)
        assert sum(map(len, own)) > 10  # both validations
        assert own == [pytest.approx(x, abs=1e-6, nan_ok=True) for x in metrics[0]]


def test_random_images_are_trained_on_anew_but_validation_is_kept(opts, tmp_path, log):
    trainer = trainer_of(opts, tmp_path, "INPUT.RANDOM_FLIP", "vertical", "SOLVER.MAX_ITER", "1")
    trainer.train()
    assert "INPUT.RANDOM_FLIP is vertical: training computes ranked boxes anew" in log.text
    assert [x.name[:10] for x in (tmp_path / "ranked_boxes").iterdir()] == ["ranked_val"]


def test_a_trainer_with_its_own_loader_keeps_no_rows(opts, tmp_path, log):
    class OwnLoader(Trainer):
        @classmethod
        def build_train_loader(cls, cfg):
            return super().build_train_loader(cfg)

    trainer = trainer_of(opts, tmp_path, "SOLVER.MAX_ITER", "1", kind=OwnLoader)
    trainer.train()
    assert "OwnLoader has its own build_train_loader: ranked boxes are not kept" in log.text
    assert not (tmp_path / "ranked_boxes").exists()


def test_images_without_labels_are_refused_before_rows_are_computed(opts, tmp_path):
    trainer = trainer_of(opts, tmp_path)
    trainer.model.backbone.register_forward_pre_hook(never)
    record = DatasetCatalog.get("ranked_train")[3]
    DatasetCatalog.register("unlabelled", lambda: [{"file_name": record["file_name"]}])
    try:
        cfg = trainer.cfg.clone()
        cfg.defrost()
        cfg.DATASETS.TRAIN = ("ranked_train", "unlabelled")
        with pytest.raises(ValueError, match=f"unlabelled has no label for {record['file_name']}"):
            build_ranked_train_loader(cfg, trainer.model)
    finally:
        DatasetCatalog.remove("unlabelled")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([], ""),
        (["INPUT.RANDOM_FLIP", "horizontal"], "INPUT.RANDOM_FLIP is horizontal"),
        (["INPUT.CROP.ENABLED", True], "INPUT.CROP.ENABLED is True"),
        (["INPUT.MIN_SIZE_TRAIN", (64, 96)], ""),  # SQUASH takes the first
        (["INPUT.MIN_SIZE_TRAIN", (64, 96), "INPUT.SQUASH", False], r"(64, 96)"),
        (["INPUT.MIN_SIZE_TRAIN", (64,), "INPUT.SQUASH", False], ""),
    ],
)
def test_what_makes_images_vary(changes, reason):
    found = what_varies(tiny_cfg("ctmasknet", *changes))
    assert reason in found and bool(reason) == bool(found)


def test_only_the_image_head_alone_can_be_trained_on_rows():
    heads = ["MODEL.TRAINABLE", "heads"]
    assert rows_are_cached(tiny_cfg("ctmasknet", *heads))
    assert not rows_are_cached(tiny_cfg("ctmasknet"))
    assert not rows_are_cached(tiny_cfg("lesion", *heads))
    off = ["DATALOADER.RANKED_BOXES_FOLDER", "none"]
    assert not rows_are_cached(tiny_cfg("ctmasknet", *heads, *off))


@pytest.fixture(scope="module")
def model():
    return fast_model("ctmasknet", "MODEL.TRAINABLE", "heads")


def flip_a_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def of_another_key(_):
    stream = io.BytesIO()
    np.savez(stream, key=np.array("another"), counts=[1], rows=np.zeros((1, 5), np.float32))
    return stream.getvalue() + hashlib.sha256(stream.getvalue()).digest()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (flip_a_bit, "checksum is wrong"),
        (lambda content: content[:-1], "checksum is wrong"),
        (lambda content: content[:100], "checksum is wrong"),
        (lambda content: b"", "checksum is wrong"),
        (lambda content: b"file,label\n", "checksum is wrong"),
        (of_another_key, "made with other weights, settings, code or images"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_made_anew(spoil, reason, model, slices, tmp_path, log):
    cfg = tiny_cfg("ctmasknet", *SIDES, "OUTPUT_DIR", str(tmp_path))
    expected = ranked_boxes(cfg, model, "set", slices, training=False)
    (path,) = (tmp_path / "ranked_boxes").iterdir()
    good = path.read_bytes()
    path.write_bytes(spoil(good))
    found = ranked_boxes(cfg, model, "set", slices, training=False)
    assert f"{path}: " in log.text and f"{reason}" in log.text
    assert path.read_bytes() == good
    assert_same(found, expected)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, boxes in expected.items():
        for part, tensor in boxes.tensors().items():
            assert torch.equal(found[name].tensors()[part], tensor)


SIDES = ["INPUT.MIN_SIZE_TEST", 48, "DATALOADER.NUM_WORKERS", 0]


@pytest.fixture
def slices(tmp_path):
    """Three slices of two shapes."""
    generator = np.random.default_rng(0)
    records = []
    for i, shape in enumerate([(48, 48), (48, 80), (48, 48)]):
        path = tmp_path / f"{i}.png"
        Image.fromarray(generator.integers(0, 256, shape, np.uint8)).save(path)
        records.append({"file_name": str(path), "image_id": path.name, "label": i})
    return records


def test_rows_are_those_of_each_image_alone(model, slices, tmp_path):
    cfg = tiny_cfg("ctmasknet", *SIDES, "OUTPUT_DIR", str(tmp_path))
    found = ranked_boxes(cfg, model, "set", slices, training=False)
    assert model.training  # as it was
    loader = build_detection_test_loader(slices, mapper=SliceMapper(cfg, is_train=False))
    model.eval()
    for (image,) in loader:
        with torch.no_grad():
            (expected,) = model([image])
            (answer,) = model([{"ranked_boxes": found[image["file_name"]]}])
        torch.testing.assert_close(
            answer["image_logits"], expected["image_logits"], rtol=0, atol=1e-5
        )
        assert found[image["file_name"]].counts == expected["ranked_boxes"].counts > 0
    model.train()


def test_a_broken_image_is_named_and_leaves_no_file(model, slices, tmp_path):
    Path(slices[1]["file_name"]).write_bytes(Path(slices[1]["file_name"]).read_bytes()[:200])
    cfg = tiny_cfg("ctmasknet", *SIDES, "OUTPUT_DIR", str(tmp_path))
    with pytest.raises(ValueError, match=r"1\.png"):
        ranked_boxes(cfg, model, "set", slices, training=True)
    assert not (tmp_path / "ranked_boxes").exists()


def test_processes_share_the_images_and_the_first_writes(model, slices, tmp_path, monkeypatch):
    """Two threads stand for processes, which take many seconds to start."""
    cfg = tiny_cfg("ctmasknet", *SIDES, "OUTPUT_DIR", str(tmp_path))
    expected = ranked_boxes(cfg, model, "set", slices, training=False)
    (path,) = (tmp_path / "ranked_boxes").iterdir()
    written = path.read_bytes()
    thread, barrier, told = threading.local(), threading.Barrier(2, timeout=60), {}

    def all_gather(data):
        barrier.wait()
        told[thread.rank] = data
        barrier.wait()
        return [told[0], told[1]]

    def process(rank):
        thread.rank = rank
        return ranked_boxes(cfg, copy.deepcopy(model), "set", slices, training=False)

    monkeypatch.setattr(comm, "get_rank", lambda: thread.rank)
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(comm, "all_gather", all_gather)
    with ThreadPoolExecutor(2) as pool:
        path.unlink()
        computed = [*pool.map(process, range(2))]
        assert sorted(map(len, told.values())) == [1, 2]  # shares of three images
        assert path.read_bytes() == written
        read = [*pool.map(process, range(2))]
    for found in (*computed, *read):
        assert_same(found, expected)


def test_labels_are_the_data_sets(opts, tmp_path):
    trainer = trainer_of(opts, tmp_path, "SOLVER.MAX_ITER", "1")
    trainer.train()
    labels = {x["file_name"]: x["label"] for x in DatasetCatalog.get("ranked_train")}
    batch = next(iter(trainer.data_loader))
    assert all("ranked_boxes" in x and x["label"] == labels[x["file_name"]] for x in batch)
