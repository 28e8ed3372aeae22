"""A user's subclass of CTMaskNet, registered under its own name, works where a CTMaskNet does."""

import itertools
from pathlib import Path

import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY
from slice_lists import write_slices
from tiny_models import tiny_model

from ctmasknet.engine import Trainer, load_config
from ctmasknet.engine.ranked_cache import rows_are_cached
from ctmasknet.engine.reports import datasets_to_predict
from ctmasknet.modeling import CTMaskNet

CONFIG = str(Path(__file__).parents[2] / "configs/quick/ctmasknet_R18_T1.yaml")
SMALL = {
    "MODEL.META_ARCHITECTURE": "OwnClassifier",
    "MODEL.TRAINABLE": "heads",
    "MODEL.PRECISION": "float32",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "30",
    "MODEL.RANKED_BOXES.NUM": "8",
    "MODEL.IMAGE_HEAD.FC_DIM": "8",
    "INPUT.MIN_SIZE_TRAIN": "(64,)",
    "INPUT.MIN_SIZE_TEST": "64",
    "INPUT.RANDOM_FLIP": "none",
    "SOLVER.IMS_PER_BATCH": "2",
    "SOLVER.MAX_ITER": "1",
    "TEST.BOOTSTRAP_RESAMPLES": "2",
    "DATALOADER.NUM_WORKERS": "0",
}


class OwnClassifier(CTMaskNet):
    pass


@pytest.fixture(autouse=True)
def registered():
    META_ARCH_REGISTRY.register(OwnClassifier)
    yield
    META_ARCH_REGISTRY._obj_map.pop("OwnClassifier")


@pytest.mark.slow
def test_it_is_trained_and_reported(tmp_path):
    torch.save({"model": tiny_model("lesion").state_dict()}, tmp_path / "lesion.pth")
    opts = [*itertools.chain(*SMALL.items()), "OUTPUT_DIR", str(tmp_path / "out")]
    opts += ["MODEL.WEIGHTS", str(tmp_path / "lesion.pth")]
    for key in ("TRAIN", "VALIDATION", "TEST"):
        opts += [f"DATASETS.{key}", f"('{write_slices(tmp_path / f'own_{key}.csv', 3)}',)"]
    cfg = load_config(CONFIG, opts)
    assert rows_are_cached(cfg)
    assert datasets_to_predict(cfg) == ("own_TEST", "own_VALIDATION")
    (tmp_path / "out").mkdir()
    trainer = Trainer(cfg)
    assert type(trainer.model) is OwnClassifier
    trainer.resume_or_load(resume=False)
    metrics = trainer.train()
    assert {"image", "scan", "patient"} <= set(metrics["own_TEST"])
    saved = torch.load(tmp_path / "out/model_final.pth", weights_only=True)
    assert saved["settings"]["MODEL.RANKED_BOXES.ENCODING"] == "deltas"


def test_another_kind_of_data_and_an_unknown_name_are_refused(tmp_path):
    opts = [*itertools.chain(*SMALL.items()), "OUTPUT_DIR", str(tmp_path)]
    truth = tmp_path / "lesions.json"
    truth.write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(ValueError, match=r"OwnClassifier needs an image list \(\.csv\)"):
        load_config(CONFIG, [*opts, "DATASETS.TRAIN", f"('{truth}',)"])
    with pytest.raises(ValueError, match="META_ARCHITECTURE: No object named 'NoSuchModel'"):
        load_config(CONFIG, ["MODEL.META_ARCHITECTURE", "NoSuchModel"])


def test_a_part_that_is_not_registered_is_named(tmp_path):
    opts = [*itertools.chain(*SMALL.items()), "OUTPUT_DIR", str(tmp_path)]
    cfg = load_config(CONFIG, [*opts, "MODEL.IMAGE_HEAD.NAME", "Gone"], datasets=False)
    with pytest.raises(ValueError, match="No object named 'Gone' found in 'IMAGE_HEAD'.*import"):
        Trainer.build_model(cfg)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("version https://git-lfs.github.com/spec/v1\nsize 1", "a Git LFS pointer"),
        ("just text", "found no keys"),
        ("- a\n- b", "found no keys"),
        ("", "empty, 0 bytes"),
    ],
)
def test_a_config_file_that_is_something_else_is_named(tmp_path, text, found):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"a\.yaml: {found}.*expected lines of `KEY: VALUE`"):
        load_config(str(path), [], datasets=False)
