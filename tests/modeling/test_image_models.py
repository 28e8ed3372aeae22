"""Baselines that classify an image from its pixels."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from tiny_models import CONFIG_FOLDER, batch
from torchvision.models import mobilenet_v3_small, resnet18

from ctmasknet import get_cfg
from ctmasknet.checkpoint import load_weights
from ctmasknet.checkpoint.loading import new_in, save_converted
from ctmasknet.checkpoint.torchvision_resnet import convert_torchvision_backbone
from ctmasknet.data.histogram import histogram_features
from ctmasknet.fast import accelerate
from ctmasknet.modeling import is_classifier, reads_boxes
from ctmasknet.modeling.finite import NotFiniteError

pytestmark = pytest.mark.slow  # whole networks

NAMES = ["ResNet18", "MobileNetV3", "IntensityHistogram"]


def config(name, *opts):
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIG_FOLDER / f"baseline/{name}.yaml"))
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.PRECISION", "float32", *opts])
    return cfg


def build(name, *opts):
    torch.manual_seed(0)
    return accelerate(build_model(config(name, *opts)))


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_what_it_is_shown(name):
    model = build(name)
    inputs = batch(6)
    for i, x in enumerate(inputs):  # brighter from class to class
        x["image"] = x["image"] / 4 + 60 * (i % 3)
    optimizer = torch.optim.Adam(model.parameters(), 0.01 if name == "ResNet18" else 0.03)
    losses = []
    for _ in range(20):
        losses.append(model(inputs)["loss_image"])
        optimizer.zero_grad()
        losses[-1].backward()
        assert all(p.grad is not None for p in model.parameters())
        optimizer.step()
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_an_images_answer_does_not_depend_on_its_batch(name):
    model = build(name).eval()
    inputs = [*batch(2), *batch(2, size=(64, 96), seed=1), *batch(1, seed=2)]
    with torch.no_grad():
        together = model([inputs[i] for i in (0, 2, 1, 3, 4)])
        alone = [model([inputs[i]])[0] for i in (0, 2, 1, 3, 4)]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a["image_logits"], b["image_logits"], rtol=1e-4, atol=1e-5)
        assert a["image_probs"].sum() == pytest.approx(1, abs=1e-6)
        assert a["image_class"] == a["image_logits"].argmax()


def test_layers_are_those_of_torchvision(tmp_path):
    torch.manual_seed(0)
    theirs = resnet18().eval()
    _, weights, _ = convert_torchvision_backbone(theirs.state_dict())
    save_converted(tmp_path / "r18.pth", weights)
    model = build("ResNet18").eval()
    report = load_weights(model, tmp_path / "r18.pth", new_in(model))
    assert report.missing == ("classifier.weight", "classifier.bias")
    images = torch.rand(2, 3, 64, 64) * 255
    theirs.fc = torch.nn.Identity()
    with torch.no_grad():
        expected = theirs(model.normalised(images))
        torch.testing.assert_close(model.features(images), expected, rtol=1e-4, atol=1e-5)


def test_numbers_of_parameters():
    counts = {name: sum(p.numel() for p in build(name).parameters()) for name in NAMES}
    body = sum(p.numel() for p in resnet18().parameters()) - 513 * 1000
    assert counts["ResNet18"] == body + 513 * 3 == 11_178_051
    small = sum(p.numel() for p in mobilenet_v3_small(num_classes=3).parameters())
    assert counts["MobileNetV3"] == small == 1_520_931
    assert counts["IntensityHistogram"] == 33 * 3


def test_the_histogram_is_that_of_the_audit():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30), np.uint8)
    image = torch.from_numpy(pixels).float().expand(3, -1, -1)
    found = build("IntensityHistogram").features(image[None])[0].numpy()
    np.testing.assert_allclose(found**2, histogram_features(pixels), atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_nan_names_the_image(training):
    inputs = [*batch(2), *batch(2, size=(64, 96))]
    inputs[1]["image"][0, 0, 0] = torch.nan
    with pytest.raises(NotFiniteError, match="slice_1.png gives NaN"):
        build("ResNet18").train(training)(inputs[1:] if training else inputs)


def test_an_image_without_label_is_named():
    inputs = batch()
    del inputs[1]["label"]
    with pytest.raises(ValueError, match=r"ImageResNet trains on images with a label.*slice_1"):
        build("ResNet18")(inputs)


def test_bfloat16_gives_logits_in_full_precision_near_those():
    answers = []
    for precision in ("float32", "bfloat16"):
        model = build("ResNet18", "MODEL.PRECISION", precision).eval()
        with torch.no_grad():
            answers.append(torch.stack([x["image_logits"] for x in model(batch(3))]))
    assert answers[1].dtype == torch.float32
    torch.testing.assert_close(*answers, rtol=0.05, atol=0.05)


def test_kinds_of_models():
    cfg = config("ResNet18")
    assert is_classifier(cfg) and not reads_boxes(cfg)
    cfg.merge_from_list(["MODEL.META_ARCHITECTURE", "CTMaskNet"])
    assert is_classifier(cfg) and reads_boxes(cfg)
    cfg.merge_from_list(["MODEL.META_ARCHITECTURE", "LesionRCNN"])
    assert not is_classifier(cfg) and not reads_boxes(cfg)


def test_settings_that_cannot_be():
    with pytest.raises(ValueError, match="'focal'; valid are binary_cross_entropy"):
        build("ResNet18", "MODEL.IMAGE_HEAD.LOSS", "focal")
