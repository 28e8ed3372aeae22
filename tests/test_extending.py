"""The examples of docs/extending.md run as they are printed there."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import BACKBONE_REGISTRY
from tiny_models import batch, fast_model, tiny_model

from ctmasknet.evaluation.tasks import TASKS
from ctmasknet.fast import ACCELERATIONS
from ctmasknet.modeling import IMAGE_HEAD_REGISTRY
from ctmasknet.quantification.segment_codes import SEGMENT_CODES, segment_codes
from ctmasknet.volumes import VOLUME_FORMATS, read_volume

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
REGISTRIES = (
    *(x._obj_map for x in (BACKBONE_REGISTRY, IMAGE_HEAD_REGISTRY)),
    *(TASKS, VOLUME_FORMATS, SEGMENT_CODES, ACCELERATIONS),
)


@pytest.fixture
def example():
    """Runs the code under a heading; afterwards nothing of it is registered."""
    before = [dict(registry) for registry in REGISTRIES]

    def run(heading):
        section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
        code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
        names = {"__name__": "example"}
        exec(compile(code, f"{PAGE.name}: {heading}", "exec"), names)
        return names

    yield run
    for registry, entries in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(entries)


def test_every_section_is_run_here():
    headings = re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [
        *("A backbone", "An image head", "A metric"),
        *("A CT format", "A segment code", "An acceleration"),
    ]


@pytest.mark.parametrize("build", [tiny_model, fast_model])
def test_backbone(example, build):
    example("A backbone")
    opts = ("MODEL.BACKBONE.NAME", "OneConvolution", "MODEL.TRAINABLE", "full")
    model = build("ctmasknet", *opts)
    model(batch())["loss_image"].backward()
    assert model.backbone.conv.weight.grad.abs().sum() > 0
    with torch.no_grad():
        assert len(model.eval()(batch())) == 2


@pytest.mark.parametrize("build", [tiny_model, fast_model])
def test_image_head_has_its_losses_under_their_own_names(example, build):
    example("An image head")
    model = build("ctmasknet", "MODEL.IMAGE_HEAD.NAME", "MeanBoxHead")
    losses = model(batch())
    assert list(losses) == ["loss_image", "loss_size"]
    sum(losses.values()).backward()
    assert model.image_head.classifier.weight.grad.abs().sum() > 0
    with torch.no_grad():
        assert model.eval()(batch(1))[0]["image_logits"].shape == (3,)


def test_metric(example):
    names = example("A metric")
    assert list(TASKS)[-2:] == ["surplus", "errors"]
    # A slice alone, and both; see tests/evaluation/test_tasks.py for where it shows.
    level = type("Level", (), {"labels": np.array([0, 1]), "probabilities": np.eye(2)[[0, 0]]})
    rate = names["errors"](level)(np.array([[1.0, 0], [0, 1], [1, 1]]))["rate"]
    assert rate.tolist() == [0, 1, 0.5]


def test_ct_format(example, tmp_path):
    example("A CT format")
    hu = np.zeros((2, 16, 16), np.int16)
    np.savez(tmp_path / "scan.npz", hu=hu, spacing=(2.0, 1, 1))
    assert read_volume(tmp_path / "scan.npz").spacing == (2.0, 1.0, 1.0)


def test_segment_code(example):
    assert segment_codes(["cavity 2"])[0].is_private
    example("A segment code")
    (code,) = segment_codes(["Cavity-2"])
    assert (code.value, code.scheme, code.region.meaning) == ("CAV2", "99MYLAB", "Lung")


def test_acceleration(example):
    plain = fast_model("ctmasknet").eval()
    example("An acceleration")
    model = fast_model("ctmasknet").eval()
    assert model.accelerations[-1] == "score_in_inference_mode"
    with torch.no_grad():
        found, expected = (x(batch(1))[0]["image_logits"] for x in (model, plain))
    assert torch.equal(found, expected)
