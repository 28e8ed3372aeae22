"""Training on slices without lesions: what is skipped is said, and they teach without NaN."""

import json

import pytest
from detectron2.data import build_detection_train_loader
from detectron2.utils.events import EventStorage

from ctmasknet.data.mapper import SliceMapper
from ctmasknet.data.phantom import write_phantom
from ctmasknet.engine import Trainer, load_config
from ctmasknet.engine.setup import check_files

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

FREE = ("DATALOADER.FILTER_EMPTY_ANNOTATIONS", False)
SMALL = (
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "SOLVER.IMS_PER_BATCH", 2, "MODEL.DEVICE", "cpu"),
    *("DATALOADER.NUM_WORKERS", 0, "MODEL.PRECISION", "float32"),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """COCO files of slices with lesions, and of some said to be without."""
    root = tmp_path_factory.mktemp("data") / "phantom"
    write_phantom(root, patients=12, slices=2, size=96, split=(2, 1, 1))
    lesions, healthy = root / "with_lesions.json", root / "healthy.json"
    lesions.write_text((root / "lesion_both_train.json").read_text())
    content = json.loads((root / "lesion_both_val.json").read_text())
    healthy.write_text(json.dumps({**content, "annotations": []}))
    return lesions, healthy


def config(files, output, *opts, name="recipe/recipe_R18_T1"):
    names = ("DATASETS.TRAIN", tuple(map(str, files)), "OUTPUT_DIR", str(output))
    names += ("DATASETS.TEST", (), "DATASETS.VALIDATION", ())
    return load_config(name, [*SMALL, *names, *opts])


def test_lesion_free_data_are_not_dropped_without_a_word(files, tmp_path):
    with pytest.raises(ValueError, match=r"healthy\S* has no lesions.*EMPTY_ANNOTATIONS False"):
        check_files(config(files, tmp_path))
    check_files(config(files, tmp_path, *FREE))


def test_a_share_that_cannot_be_drawn_is_refused(files, tmp_path):
    share = ("DATALOADER.LESION_FREE_SHARE", 0.25)
    with pytest.raises(ValueError, match=r"SHARE is 0.25, but .*ANNOTATIONS is True: set it to Fa"):
        config(files, tmp_path, *share)
    with pytest.raises(ValueError, match="SHARE is 1.0, expected 0 to below 1"):
        config(files, tmp_path, *FREE, "DATALOADER.LESION_FREE_SHARE", 1.0)
    with pytest.raises(ValueError, match="SAMPLER_TRAIN is Rep.*: set it to TrainingSampler"):
        repeat = ("DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler")
        config(files, tmp_path, *FREE, *share, *repeat)
    with pytest.raises(ValueError, match="SHARE is 0.25, but a classifier reads no lesions"):
        config((), tmp_path, *share, name="ctmasknet/R18_T1_heads_BN")


@pytest.mark.parametrize("name", ["recipe/recipe_R18_T1", "recipe/semantic_R18_T1"])
@pytest.mark.parametrize("opts", [(), ("INPUT.AUGMENT.ROTATION", 10.0)], ids=["plain", "rotated"])
def test_batches_without_any_lesion_train(files, tmp_path, name, opts):
    opts = (*opts, "MODEL.ROI_MASK_HEAD.DICE_WEIGHT", 1.0)
    cfg = config(files[1:], tmp_path, *FREE, *opts, name=name)
    model = Trainer.build_model(cfg).train()
    loader = build_detection_train_loader(cfg, mapper=SliceMapper(cfg, is_train=True))
    batch = next(iter(loader))
    assert [len(x["instances"]) for x in batch] == [0, 0]
    with EventStorage():
        losses = model(batch)
    sum(losses.values()).backward()
    assert all(x.isfinite() for x in losses.values()) and losses["loss_mask"] == 0
    gradients = [x.grad for x in model.parameters() if x.grad is not None]
    assert all(x.isfinite().all() for x in gradients)
    assert any(x.abs().max() > 0 for x in gradients)


def test_training_draws_the_share(files, tmp_path):
    cfg = config(files, tmp_path, *FREE, "DATALOADER.LESION_FREE_SHARE", 0.75)
    loader = iter(Trainer.build_train_loader(cfg))
    drawn = [len(x["instances"]) == 0 for _ in range(40) for x in next(loader)]
    assert sum(drawn) / len(drawn) == pytest.approx(0.75, abs=0.15)
