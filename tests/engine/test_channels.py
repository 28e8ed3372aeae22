"""Models that read three windows or neighbouring slices: training, data sets and prediction."""

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from dicom_files import save_volume
from PIL import Image
from tiny_models import tiny_cfg, tiny_model

from ctmasknet.checkpoint.settings import CHANNELS as STORED
from ctmasknet.checkpoint.settings import SettingsRecord
from ctmasknet.data.channels import CHANNELS, slice_channels
from ctmasknet.data.classes import MaskValues
from ctmasknet.data.mapper import SliceMapper
from ctmasknet.data.registration import register_paths
from ctmasknet.data.window import LUNG
from ctmasknet.engine import Trainer, load_config
from ctmasknet.engine.ranked_file import key_of_rows
from ctmasknet.engine.setup import check_files
from ctmasknet.fast import accelerate
from ctmasknet.inference import Predictor
from ctmasknet.inference.model_spec import find_model
from ctmasknet.volumes import read_volume
from ctmasknet.volumes.lesion_slices import LesionSlices
from ctmasknet.volumes.mask_files import MaskFiles
from ctmasknet.volumes.volume_list import VolumeEntry
from ctmasknet.volumes.volume_slices import write_slices

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

OTHERS = CHANNELS[1:]
SMALL = ("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", 64, "MODEL.DEVICE", "cpu")
SMALL += ("SOLVER.IMS_PER_BATCH", 2, "DATALOADER.NUM_WORKERS", 0, "MODEL.PRECISION", "float32")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A scan of noise with a lesion in each slice, and its mask."""
    root = tmp_path_factory.mktemp("scans")
    hu = np.random.default_rng(1).integers(-1000, 200, (4, 64, 64)).astype(np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    labels[:, 10:40, 10:40] = 1
    save_volume(root / "mask.nii.gz", labels)
    return save_volume(root / "a.nii.gz", hu)


@pytest.fixture(scope="module")
def prepared(scans):
    """The lesion data sets of the scan, by their channels."""
    files = {}
    for channels in CHANNELS:
        output = scans.parent / channels
        lesions = LesionSlices(MaskFiles(scans.with_name("mask.nii.gz")), MaskValues({1: "lesion"}))
        write_slices([VolumeEntry(scans)], output, channels=channels, lesions=lesions)
        files[channels] = output / f"lesions_{channels}.json"
        (output / "lesions.json").rename(files[channels])
    return files


def config(path, output, *opts):
    names = ("DATASETS.TRAIN", (str(path),), "OUTPUT_DIR", str(output), "DATASETS.TEST", ())
    return load_config("lesion/R18_T1", [*SMALL, *names, *opts])


@pytest.fixture
def run_of(tmp_path):
    """Make the folder of a training run with random weights."""

    def make(kind, channels):
        folder = tmp_path / f"run_{kind}_{channels}"
        folder.mkdir()
        more = ("INPUT.CHANNELS", channels, "INPUT.MIN_SIZE_TEST", 64, "MODEL.NAME", channels)
        (folder / "config.yaml").write_text(tiny_cfg(kind, *more).dump())
        model = tiny_model(kind)
        settings = SettingsRecord(model, channels=channels).state_dict()
        torch.save({"model": model.state_dict(), "settings": settings}, folder / "model_best.pth")
        return folder

    return make


@pytest.mark.parametrize("channels", CHANNELS)
def test_a_step_of_training(prepared, tmp_path, channels):
    cfg = config(prepared[channels], tmp_path / "run", "INPUT.CHANNELS", channels)
    check_files(cfg)
    model = Trainer.build_model(cfg).train()
    batch = next(iter(Trainer.build_train_loader(cfg)))
    alike = all((x["image"] == x["image"][:1]).all() for x in batch)
    assert alike == (channels == "grey")
    with EventStorage():
        losses = model(batch)
    sum(losses.values()).backward()
    assert all(x.isfinite() for x in losses.values())


@pytest.mark.parametrize(("found", "wanted"), [("grey", "windows"), ("neighbours", "grey")])
def test_a_data_set_with_other_channels_is_refused(prepared, tmp_path, found, wanted):
    cfg = config(prepared[found], tmp_path / "run", "INPUT.CHANNELS", wanted)
    with pytest.raises(ValueError, match=f"channels '{found}', but INPUT.CHANNELS is '{wanted}'"):
        check_files(cfg)


@pytest.mark.parametrize("channels", OTHERS)
def test_a_scan_and_its_data_set_give_the_same(prepared, run_of, scans, channels):
    predictor = Predictor(run_of("lesion", channels), device="cpu", min_score=0.0)
    prediction = predictor.predict(scans)
    assert predictor.describe()["settings"]["channels"] == channels
    cfg = predictor.models.lesions.spec.cfg
    (name,) = register_paths([str(prepared[channels])])
    model = accelerate(predictor.models.lesions.model)
    for record, found in zip(DatasetCatalog.get(name), prediction.slices, strict=True):
        mapped = SliceMapper(cfg, is_train=False)(record)
        with torch.no_grad():
            (output,) = model([mapped])
        own = output["instances"]
        assert len(own) == len(found.instances) > 0
        boxes = np.array([x.box for x in found.instances])
        np.testing.assert_allclose(own.pred_boxes.tensor.numpy(), boxes, atol=1e-3)
        scores = [x.score for x in found.instances]
        np.testing.assert_allclose(own.scores.numpy(), scores, atol=1e-5)
    files = [record["file_name"] for record in DatasetCatalog.get(name)]
    again = predictor.predict(files)  # loose slices that were made so
    for one, other in zip(again, prediction.slices, strict=True):
        assert [x.score for x in one.instances] == [x.score for x in other.instances]


@pytest.mark.parametrize("channels", OTHERS)
def test_fast_layers_give_what_the_stock_ones_do(channels):
    hu = np.random.default_rng(1).integers(-1000, 200, (3, 64, 64)).astype(np.int16)
    image = torch.from_numpy(slice_channels(hu, 1, LUNG, channels).transpose(2, 0, 1).copy())
    batch = [{"image": image, "height": 64, "width": 64}]
    stock = tiny_model("lesion").eval()
    fast = accelerate(tiny_model("lesion").eval())
    with torch.no_grad():
        (one,), (other,) = stock(batch), fast(batch)
    expected = one["instances"].pred_boxes.tensor
    torch.testing.assert_close(other["instances"].pred_boxes.tensor, expected, atol=1e-3, rtol=1e-4)


def test_each_of_two_models_sees_its_own_channels(run_of, scans, monkeypatch):
    predictor = Predictor(
        run_of("ctmasknet", "neighbours"), lesion_model=run_of("lesion", "windows"), device="cpu"
    )
    seen = []
    run = predictor.models.run

    def spy(slices, *args):
        found = list(slices)
        seen.extend(pair for pair, _, _ in found)
        return run(found, *args)

    monkeypatch.setattr(predictor.models, "run", spy)
    volume = read_volume(scans)
    predictor.predict_volume(volume)
    for z, (own, lesions) in enumerate(seen):
        assert np.array_equal(own, volume.slice(z, channels="neighbours"))
        assert np.array_equal(lesions, volume.slice(z, channels="windows"))
    score_map = predictor.score_map(volume.slice(1, channels="windows"))
    assert score_map.shape == (64, 64)


def test_what_cannot_have_the_channels_is_refused(run_of, scans, tmp_path):
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((64, 64), 7, np.uint8)).save(grey)
    hu = read_volume(scans).hu
    by_windows = Predictor(run_of("lesion", "windows"), device="cpu")
    by_neighbours = Predictor(run_of("lesion", "neighbours"), device="cpu")
    for predictor in (by_windows, by_neighbours):
        kind = predictor.models.channels[1]
        wrong = f"with the channels 'grey', but INPUT.CHANNELS is '{kind}'"
        with pytest.raises(ValueError, match=f"grey.png: found a slice {wrong}"):
            predictor.predict(grey)
        for image in (np.full((64, 64), 7, np.uint8), np.full((64, 64, 3), 7, np.uint8)):
            with pytest.raises(ValueError, match=f"an image: found a slice {wrong}"):
                predictor.predict(image)
            with pytest.raises(ValueError, match=wrong):
                list(predictor.predict_slices([(np.full((64, 64, 3), 7, np.uint8), "")]))
    assert by_windows.predict(hu[0]).size == (64, 64)  # HU have windows
    with pytest.raises(ValueError, match="a single slice has no neighbours"):
        by_neighbours.predict(hu[0])
    stack = tmp_path / "stack"
    stack.mkdir()
    for z in range(2):
        Image.fromarray(np.full((64, 64), 7 + z, np.uint8)).save(stack / f"{z}.png")
    with pytest.raises(ValueError, match=r"the window 350,50 cannot be made of them"):
        by_windows.predict(stack)
    assert len(by_neighbours.predict(stack).slices) == 2


def test_weights_tell_their_channels(run_of):
    folder = run_of("lesion", "windows")
    assert find_model(folder).cfg.INPUT.CHANNELS == "windows"
    match = rf"model_best.pth: trained with {STORED} windows, the config says grey"
    with pytest.raises(ValueError, match=match):
        find_model(folder / "config.yaml", folder / "model_best.pth", ["INPUT.CHANNELS", "grey"])


def test_a_packed_model_keeps_them(run_of, command, tmp_path):
    path = tmp_path / "own.safetensors"
    assert command("pack", run_of("lesion", "neighbours"), path)[0] == 0
    assert find_model(path).cfg.INPUT.CHANNELS == "neighbours"


def test_ranked_boxes_are_kept_apart_by_channels(tmp_path):
    model = tiny_model("ctmasknet")
    cfgs = [tiny_cfg("ctmasknet", "INPUT.CHANNELS", channels) for channels in CHANNELS]
    assert len({key_of_rows(cfg, model, [], training=True) for cfg in cfgs}) == 3


def test_an_unknown_value_is_refused():
    cfg = tiny_cfg("lesion", "INPUT.CHANNELS", "rgb")
    assert build_model(cfg) is not None  # networks do not care
    with pytest.raises(ValueError, match="INPUT.CHANNELS is 'rgb'"):
        SliceMapper(cfg, is_train=True)
