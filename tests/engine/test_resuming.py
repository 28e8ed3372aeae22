"""A run that was stopped and resumed ends with the weights of one that was not, bit for bit."""

import io
import itertools
import json
import logging
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from detectron2.utils.env import seed_all_rng

from ctmasknet.data.phantom import write_phantom
from ctmasknet.engine import Trainer, load_config
from ctmasknet.engine.checkpoints import find_resume_point

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

QUICK = Path(__file__).parents[2] / "configs/quick"
STEPS = 7
SMALL = {
    "MODEL.PRECISION": "float32",
    "INPUT.MIN_SIZE_TEST": "64",
    "INPUT.AUGMENT.ROTATION": "10.0",
    "INPUT.AUGMENT.NOISE": "4.0",
    "SOLVER.IMS_PER_BATCH": "2",
    "SOLVER.STEPS": "()",
    "SOLVER.WARMUP_ITERS": "2",
    "SOLVER.MAX_ITER": STEPS,
    "SOLVER.CHECKPOINT_PERIOD": "2",
    "TEST.EVAL_PERIOD": "3",
    "DATALOADER.NUM_WORKERS": "0",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": "60",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "30",
    "MODEL.RANKED_BOXES.NUM": "8",
    "MODEL.RANKED_BOXES.FILL": "random",
    "MODEL.IMAGE_HEAD.FC_DIM": "8",
    "TEST.DETECTIONS_PER_IMAGE": "10",
    "TEST.BOOTSTRAP_RESAMPLES": "0",
}
CACHED = {  # images that do not vary, so their ranked rows are kept
    "MODEL.TRAINABLE": "heads",
    "INPUT.RANDOM_FLIP": "none",
    "INPUT.AUGMENT.ROTATION": "0.0",
    "INPUT.AUGMENT.NOISE": "0.0",
    "INPUT.MIN_SIZE_TRAIN": "(64,)",
}
SIZES = {"INPUT.MIN_SIZE_TRAIN": "(64, 80)"}  # one is drawn for each image
LESIONS, CLASSES = "lesion_R18_T1", "ctmasknet_R18_T1"
CASES = {
    "lesions": (LESIONS, {**SIZES, "SOLVER.AVERAGE_DECAY": "0.9"}),
    "lesions by 2 workers": (LESIONS, {**SIZES, "DATALOADER.NUM_WORKERS": "2"}),
    "classes": (CLASSES, SIZES),
    "classes by 2 workers": (CLASSES, {**SIZES, "DATALOADER.NUM_WORKERS": "2"}),
    "classes of kept rows": (CLASSES, CACHED),
    "without a seed": (CLASSES, {**CACHED, "SEED": "-1"}),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    before = set(DatasetCatalog.list())
    root = tmp_path_factory.mktemp("resuming")
    write_phantom(root, patients=9, slices=2, size=96, split=(1, 1, 1))
    for path in [*root.glob("lesion_merge_*.json"), *root.glob("*.csv")]:
        path.rename(root / f"resuming_{path.name}")  # a name is taken once in a process
    torch.manual_seed(0)
    torch.save(
        {"model": build_model(load(root, CLASSES, {}, root)).state_dict()}, root / "start.pth"
    )
    yield root
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def load(root, config, more, output, resume=False):
    kind = "resuming_lesion_merge_{}.json" if config == LESIONS else "resuming_{}.csv"
    files = {"TRAIN": "train", "VALIDATION": "val", "TEST": "test"}
    opts = [*itertools.chain(*{**SMALL, **more}.items()), "OUTPUT_DIR", str(output)]
    for key, part in files.items():
        opts += [f"DATASETS.{key}", f"('{root / kind.format(part)}',)"]
    start = root / "start.pth"
    if config == CLASSES and start.is_file():
        opts += ["MODEL.WEIGHTS", str(start)]
    else:
        opts += ["MODEL.WEIGHTS", ""]
    return load_config(str(QUICK / f"{config}.yaml"), opts, resume=resume)


def trained(root, config, more, output, resume=False, stop=None):
    """Train in a folder; `stop` is the step at which it is interrupted."""
    cfg = load(root, config, more, output, resume)
    output.mkdir(exist_ok=True)
    seed_all_rng(cfg.SEED if cfg.SEED >= 0 else None)  # as set_up does
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=resume)
    take_step = trainer.run_step

    def step():
        if trainer.iter == stop:
            raise KeyboardInterrupt
        take_step()

    trainer.run_step = step
    return trainer, trainer.train()


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_is_the_uninterrupted_one(case, data, tmp_path):
    config, more = CASES[case]
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    for step, resume in ((5, False), (6, True)):  # 4 is the last of which there is a checkpoint
        with pytest.raises(KeyboardInterrupt):
            trained(data, config, more, stopped, resume, step)
    _, metrics = trained(data, config, more, stopped, resume=True)
    if "SEED" in more:
        first = torch.load(stopped / "model_0000001.pth", weights_only=True)
        seeds = first["trainer"]["hooks"]["RepeatableSteps"]
        more = {**more, "SEED": seeds["seed"]}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "detectron2.utils.comm.shared_random_seed", lambda: seeds["order"]["_seed"]
            )
            _, expected = trained(data, config, more, whole)
    else:
        _, expected = trained(data, config, more, whole)
    for name in ("model_final.pth", "model_best.pth"):
        one, other = (torch.load(x / name, weights_only=True) for x in (stopped, whole))
        assert same(one["model"], other["model"]), name
        assert same(one["trainer"], other["trainer"]), name
    assert json.dumps(metrics) == json.dumps(expected)


def test_workers_do_not_matter(data, tmp_path):
    for workers in "02":
        more = {**SIZES, "DATALOADER.NUM_WORKERS": workers, "SOLVER.MAX_ITER": "2"}
        trained(data, CLASSES, more, tmp_path / workers)
    one, other = (
        torch.load(tmp_path / x / "model_final.pth", weights_only=True)["model"] for x in "02"
    )
    assert same(one, other)


def test_an_evaluation_that_a_run_did_not_live_to_see_is_made_up_for(data, tmp_path):
    more = {**CACHED, "TEST.EVAL_PERIOD": "2"}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def stop(self):
            raise KeyboardInterrupt

        patch.setattr(Trainer, "validate", stop)
        trained(data, CLASSES, more, tmp_path)
    assert not (tmp_path / "model_best.json").exists()
    with pytest.raises(KeyboardInterrupt):
        trained(data, CLASSES, more, tmp_path, resume=True, stop=2)
    assert json.loads((tmp_path / "model_best.json").read_text())["iteration"] == 1


def test_half_a_checkpoint_is_passed_over_and_the_log_says_so(data, tmp_path, caplog, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        trained(data, CLASSES, CACHED, tmp_path, stop=5)
    last = tmp_path / "model_0000003.pth"
    last.write_bytes(last.read_bytes()[:-1000])
    monkeypatch.setattr(logging.getLogger("ctmasknet"), "propagate", True)
    trainer, _ = trained(data, CLASSES, CACHED, tmp_path, resume=True)
    assert trainer.start_iter == 2
    (line,) = {x.message for x in caplog.records if "going on from" in x.message}
    assert f"{last}: not a checkpoint" in line and line.endswith("model_0000001.pth")
    torch.load(last, weights_only=True)  # written anew


def test_a_training_that_diverges_names_its_images_and_goes_on_from_before(data, tmp_path):
    more = {**CACHED, "SOLVER.CHECKPOINT_PERIOD": "1", "SOLVER.WARMUP_ITERS": "0"}
    more |= {"SOLVER.BASE_LR": "1e38", "SOLVER.OPTIMIZER": "SGD", "SOLVER.MAX_ITER": "99"}
    with pytest.raises(FloatingPointError, match=r"diverged at .*batch of \S+\.png, \S+\.png: "):
        trained(data, CLASSES, more, tmp_path)
    path, problems = find_resume_point(tmp_path)
    assert problems == []
    if path:  # is of before
        weights = torch.load(path, weights_only=True)["model"]["image_head.fc1.weight"]
        assert weights.abs().max() < 1e3


def test_a_run_that_ended_before_its_final_checkpoint_gets_one(data, tmp_path):
    more = {**CACHED, "SOLVER.MAX_ITER": "4"}
    trained(data, CLASSES, more, tmp_path)
    whole = io.BytesIO((tmp_path / "model_final.pth").read_bytes())
    (tmp_path / "model_final.pth").unlink()
    trained(data, CLASSES, more, tmp_path, resume=True)
    final = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert same(final, torch.load(whole, weights_only=True))
