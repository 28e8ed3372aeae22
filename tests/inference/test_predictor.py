"""Predictor: slices, scans and lists to typed predictions."""

import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.structures import Boxes, Instances
from PIL import Image

import ctmasknet
from ctmasknet.checkpoint import load_weights
from ctmasknet.data.mapper import build_test_resize
from ctmasknet.engine.scan_training import train_scan_head
from ctmasknet.evaluation.prediction_table import make_table
from ctmasknet.evaluation.scan_rules import write_scan_head
from ctmasknet.inference.model_spec import find_model
from ctmasknet.inference.postprocessing import score_map
from ctmasknet.inference.predictions import ScanPrediction, SlicePrediction
from ctmasknet.modeling import CTMaskNet
from ctmasknet.volumes.volume import upright_volume

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


def pixels(seed=0, size=(80, 100)):
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def volume(slices=5, size=(70, 70), **known):
    hu = np.random.default_rng(1).integers(-1000, 200, (slices, *size)).astype(np.int16)
    return upright_volume(hu, (5.0, 0.8, 0.8), (0, 0, 0), np.eye(3), Path("scan.nii"), **known)


@pytest.fixture(scope="module")
def both(runs):
    """Classes of a CT-Mask-Net, masks of a lesion model; untrained scores are about one half."""
    return ctmasknet.Predictor(
        runs.ctmasknet, lesion_model=runs.lesion, min_score=0.3, batch_size=2
    )


@pytest.fixture(scope="module")
def lesions(runs):
    return ctmasknet.Predictor(runs.lesion, min_score=0.3)


def same(a: SlicePrediction, b: SlicePrediction, atol=0.0):
    assert a.size == b.size and len(a.instances) == len(b.instances)
    for x, y in zip(a.instances, b.instances, strict=True):
        assert x.lesion_class == y.lesion_class
        np.testing.assert_allclose(x.box, y.box, atol=max(atol, 1e-3))
    if a.classification:
        np.testing.assert_allclose(
            a.classification.logits, b.classification.logits, atol=max(atol, 1e-4)
        )


def test_a_slice_gets_lesions_ranked_boxes_and_a_class(both):
    prediction = both.predict(pixels())
    assert isinstance(prediction, SlicePrediction) and prediction.size == (80, 100)
    assert (
        prediction.lesion_classes == ("lesion",)
        and prediction.has_masks
        and prediction.source == ""
    )
    assert prediction.instances
    scores = [x.score for x in prediction.instances]
    assert scores == sorted(scores, reverse=True) and min(scores) >= 0.3
    for found in prediction.instances:
        x0, y0, x1, y1 = found.box
        assert 0 <= x0 < x1 <= 100 and 0 <= y0 < y1 <= 80
        assert found.mask.shape == (80, 100) and found.mask.dtype == bool
        assert found.mask.sum() == found.area_px and found.area_mm2 is None
    found = prediction.classification
    assert found.class_names == ("Control", "Common Pneumonia", "COVID-19")
    assert found.probabilities.sum() == pytest.approx(1)
    assert found.image_class == found.class_names[int(found.logits.argmax())]
    ranked = prediction.ranked_boxes
    assert ranked.rows.shape == (16, 5) and len(ranked.boxes) == len(ranked.scores) <= 16
    assert (np.diff(ranked.scores) <= 0).all() and ranked.contributions.shape[1] == 3
    assert ranked.boxes.max() <= 100 and ranked.boxes[:, 3].max() <= 80


def test_a_registered_subclass_of_ctmasknet_gives_a_class(runs, both, monkeypatch):
    class UsersNet(CTMaskNet):
        pass

    monkeypatch.setitem(META_ARCH_REGISTRY._obj_map, "UsersNet", UsersNet)
    opts = ("MODEL.META_ARCHITECTURE", "UsersNet")
    predictor = ctmasknet.Predictor(runs.ctmasknet, min_score=0.3, opts=opts)
    prediction, expected = predictor.predict(pixels()), both.predict(pixels())
    logits = expected.classification.logits
    np.testing.assert_allclose(prediction.classification.logits, logits, atol=1e-4)
    assert len(prediction.ranked_boxes.boxes) == len(expected.ranked_boxes.boxes)


def test_a_lesion_model_gives_no_class(lesions):
    prediction = lesions.predict(pixels())
    assert (
        prediction.classification is None
        and prediction.ranked_boxes is None
        and prediction.has_masks
    )


def test_a_ct_mask_net_alone_gives_boxes_without_masks(runs):
    prediction = ctmasknet.Predictor(runs.ctmasknet, min_score=0.3).predict(pixels())
    assert not prediction.has_masks and prediction.instances
    assert all(x.mask is None and x.area_px is None for x in prediction.instances)


def test_min_score_leaves_lesions_out(runs, lesions):
    prediction = lesions.predict(pixels())
    threshold = (prediction.instances[0].score + prediction.instances[-1].score) / 2
    fewer = ctmasknet.Predictor(runs.lesion, min_score=threshold).predict(pixels())
    assert len(fewer.instances) == sum(x.score >= threshold for x in prediction.instances)
    nothing = ctmasknet.Predictor(runs.lesion, min_score=1.0)
    assert nothing.predict(pixels()).instances == ()
    assert np.isnan(nothing.score_map(np.repeat(pixels()[..., None], 3, -1))).all()


def test_arrays_files_and_hu_are_the_same_slice(both, tmp_path):
    grey = pixels()
    Image.fromarray(grey).save(tmp_path / "slice.png")
    prediction = both.predict(grey)
    same(prediction, both.predict(np.repeat(grey[..., None], 3, axis=-1)))
    from_file = both.predict(tmp_path / "slice.png")
    same(prediction, from_file)
    assert from_file.source == str(tmp_path / "slice.png")
    hu = ctmasknet.data.window.LUNG.to_hu(grey)
    same(prediction, both.predict(hu))
    same(prediction, both.predict(hu.astype(np.float32)))


def test_a_volume_is_its_slices_with_geometry(both):
    scan = volume()
    prediction = both.predict(scan)
    assert isinstance(prediction, ScanPrediction) and len(prediction.slices) == 5
    assert prediction.spacing == (5.0, 0.8, 0.8) and prediction.source == "scan.nii"
    for index, found in enumerate(prediction.slices):
        same(found, both.predict(scan.slice(index)))
        assert found.pixel_mm == (0.8, 0.8)
        for x in found.instances:
            assert x.area_mm2 == pytest.approx(x.area_px * 0.64)
    assert prediction.probabilities.shape == (5, 3) and prediction.rule == "mean"
    np.testing.assert_allclose(
        prediction.classification.probabilities, prediction.probabilities.mean(axis=0)
    )


def test_the_rule_of_aggregation(runs):
    prediction = ctmasknet.Predictor(runs.ctmasknet, aggregation="max").predict(volume())
    highest = prediction.probabilities.max(axis=0)
    np.testing.assert_allclose(prediction.classification.probabilities, highest / highest.sum())
    assert prediction.rule == "max"


def test_a_scan_head_is_a_rule_of_aggregation(runs, tmp_path):
    names = ctmasknet.Predictor(runs.ctmasknet).image_classes
    rows = [
        (f"{i}.png", "P", f"S{i // 2}", i // 2 % 3, [float(i // 2 % 3 == k) for k in range(3)])
        for i in range(12)
    ]
    rule, path = train_scan_head(make_table(rows, names, "test"), "max"), tmp_path / "head.json"
    write_scan_head(path, rule)
    prediction = ctmasknet.Predictor(runs.ctmasknet, aggregation=str(path)).predict(volume())
    expected = rule(prediction.probabilities, np.zeros(len(prediction.slices), int))
    np.testing.assert_allclose(prediction.classification.probabilities, expected[0])
    assert prediction.rule == "max_head"
    other = train_scan_head(make_table(rows, ("a", "b", "c"), "test"), "max")
    write_scan_head(path, other)
    with pytest.raises(ValueError, match="scan head has the classes a, b, c"):
        ctmasknet.Predictor(runs.ctmasknet, aggregation=str(path))


def test_images_without_geometry_have_no_millimetres(both):
    prediction = both.predict(volume(measured=False))
    assert prediction.spacing is None
    assert all(x.area_mm2 is None for s in prediction.slices for x in s.instances)


def test_a_path_of_a_volume_is_read(both, tmp_path):
    for index in range(3):
        Image.fromarray(pixels(index)).save(tmp_path / f"{index}.png")
    prediction = both.predict(tmp_path)
    assert isinstance(prediction, ScanPrediction)
    assert [Path(s.source).name for s in prediction.slices] == ["0.png", "1.png", "2.png"]


def test_a_list_of_anything_keeps_its_order(both, tmp_path):
    Image.fromarray(pixels(3, (64, 90))).save(tmp_path / "other.png")
    sources = [pixels(0), pixels(1), pixels(2, (64, 64)), volume(2), tmp_path / "other.png"]
    predictions = both.predict(sources)
    assert [type(x) for x in predictions] == [SlicePrediction] * 3 + [
        ScanPrediction,
        SlicePrediction,
    ]
    assert [x.size for x in predictions if isinstance(x, SlicePrediction)] == [
        (80, 100), (80, 100), (64, 64), (64, 90),
    ]  # fmt: skip
    for source, prediction in zip(sources[:3], predictions, strict=False):
        same(prediction, both.predict(source))
    assert both.predict([]) == []


def test_few_slices_are_in_memory(both):
    """Any number of slices may stream through: a batch, and the one that tells of its end."""
    taken, alive = [], []

    class Image(np.ndarray):  # can be referred to weakly
        pass

    def stream():
        for index in range(9):
            taken.append(index)
            image = np.repeat(pixels(index)[..., None], 3, axis=-1).view(Image)
            alive.append(weakref.ref(image))
            yield image, f"{index}.png"
            del image
            assert sum(ref() is not None for ref in alive) <= both.batch_size + 1

    for done, prediction in enumerate(both.predict_slices(stream())):
        assert prediction.source == f"{done}.png"
        assert len(taken) - done <= both.batch_size + 1


def test_threads_may_share_a_predictor(both):
    images = [pixels(seed, (64 + 8 * (seed % 3), 80)) for seed in range(8)]
    alone = [both.predict(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(both.predict, images))
    for a, b in zip(alone, together, strict=True):
        same(a, b)


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((4, 8, 8), np.int16), "give a scan as a Volume"),
        (np.zeros((0, 8), np.uint8), "expected a slice"),
        (np.zeros((8, 8), np.int16), "expected HU"),
        (np.full((8, 8), np.nan), "NaN or infinity"),
        (np.zeros((8, 8), bool), "expected a slice"),
    ],
)
def test_arrays_that_are_no_slice(lesions, array, message):
    with pytest.raises(ValueError, match=message):
        lesions.predict(array)


def test_what_is_no_source(lesions):
    with pytest.raises(TypeError, match="found NoneType, expected a path"):
        lesions.predict(None)


def test_nan_in_a_network_names_the_slice(runs, tmp_path):
    weights = torch.load(runs.lesion / "model_best.pth")["model"]
    weights["backbone.fpn_lateral4.weight"] *= 1e38
    torch.save({"model": weights}, tmp_path / "hot.pth")
    Image.fromarray(pixels()).save(tmp_path / "slice.png")
    hot = ctmasknet.Predictor(runs.lesion, tmp_path / "hot.pth")
    with pytest.raises(FloatingPointError, match="slice.png gives NaN or infinity"):
        hot.predict(tmp_path / "slice.png")


def test_score_map_by_hand():
    """Two boxes on 40 x 40 pixels of a network that saw 20 x 20: the higher logit wins."""
    found = Instances((20, 20))
    found.pred_boxes = Boxes(torch.tensor([[0.0, 0, 10, 10], [5, 5, 15, 15], [0, 0, 20, 20]]))
    found.scores = torch.tensor([0.9, 0.8, 0.2])
    found.pred_masks = torch.tensor([2.0, -3.0, 9.0])[:, None, None, None].expand(3, 1, 28, 28)
    found.pred_classes = torch.zeros(3, dtype=torch.int64)
    combined = score_map(found, (40, 40), min_score=0.5)
    assert combined.dtype == np.float32 and combined.shape == (40, 40)
    assert np.isnan(combined[:10, 31:]).all() and np.isnan(combined[31:]).all()
    assert combined[5, 5] == pytest.approx(2) and combined[25, 25] == pytest.approx(-3)
    assert combined[15, 15] == pytest.approx(2)


def test_score_map_agrees_with_the_masks(lesions):
    image = np.repeat(pixels()[..., None], 3, axis=-1)
    combined = lesions.score_map(image)
    masks = np.any([x.mask for x in lesions.predict(image).instances], axis=0)
    assert masks.any() and not masks.all()
    np.testing.assert_array_equal(combined >= 0.5, masks)


def test_masks_that_torchvision_pastes(runs):
    """As in the author's code: other pixels than Detectron2's, also in the score map."""
    config, weights = runs.lesion / "config.yaml", runs.lesion / "model_best.pth"
    opts = ("MODEL.ROI_MASK_HEAD.PASTE", "torchvision")
    predictor = ctmasknet.Predictor(config, weights, min_score=0.3, opts=opts)
    image = np.repeat(pixels()[..., None], 3, axis=-1)
    cfg = find_model(config, weights, opts).cfg
    resized = build_test_resize(cfg).get_transform(image).apply_image(image)
    tensor = torch.from_numpy(resized.transpose(2, 0, 1).copy())
    model = build_model(cfg).eval()
    load_weights(model, weights)
    with torch.no_grad():
        expected = model([{"image": tensor, "height": 80, "width": 100}])[0]["instances"]
    masks = [found.mask for found in predictor.predict(image).instances]
    np.testing.assert_array_equal(masks, expected.pred_masks[expected.scores >= 0.3])
    assert np.any(masks)
    np.testing.assert_array_equal(predictor.score_map(image) >= 0.5, np.any(masks, axis=0))
    detectron2 = ctmasknet.Predictor(config, weights, min_score=0.3).predict(image)
    assert any((a != b.mask).any() for a, b in zip(masks, detectron2.instances, strict=True))


def test_a_ct_mask_net_has_no_score_map(runs):
    image = np.repeat(pixels()[..., None], 3, axis=-1)
    assert ctmasknet.Predictor(runs.ctmasknet).score_map(image) is None


def test_describe_says_where_predictions_come_from(both, lesions, runs):
    models = both.describe()["models"]
    assert [x["role"] for x in models] == ["classes", "lesions"]
    assert [x["name"] for x in models] == ["tiny_ctmasknet", "tiny_lesion"]
    assert models[1]["weights"] == str(runs.lesion / "model_best.pth")
    assert len(models[1]["sha256"]) == 64 and models[1]["phantom"] is True
    assert both.describe()["settings"]["aggregation"] == "mean"
    assert [x["role"] for x in lesions.describe()["models"]] == ["lesions"]
    assert "aggregation" not in lesions.describe()["settings"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"min_score": 2}, "min_score is 2.0, expected 0 to 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"aggregation": "median"}, "aggregation rule 'median'"),
        ({"lesion_weights": "x.pth"}, "x.pth: found weights of a lesion model, but no model"),
        ({"device": "tpu9"}, "device 'tpu9'"),
    ],
)
def test_options_out_of_range(runs, options, message):
    with pytest.raises(ValueError, match=message):
        ctmasknet.Predictor(runs.lesion, **options)


def test_precision_is_the_configs_or_what_is_asked_for(runs):
    own = ctmasknet.Predictor(runs.ctmasknet, lesion_model=runs.lesion)
    assert own.precision == own.describe()["settings"]["precision"] == "float32"
    fast = ctmasknet.Predictor(runs.ctmasknet, lesion_model=runs.lesion, precision="bfloat16")
    assert fast.precision == fast.describe()["settings"]["precision"] == "bfloat16"
    kinds = {loaded.model.precision for loaded in (fast.models.classifier, fast.models.lesions)}
    assert kinds == {torch.bfloat16}
    with pytest.raises(ValueError, match="MODEL.PRECISION is 'half'"):
        ctmasknet.Predictor(runs.lesion, precision="half")
