"""Files of ranked rows: what their key depends on, and that they return what was written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import boxes_of, tiny_cfg, tiny_model

from ctmasknet.engine import ranked_file
from ctmasknet.engine.ranked_file import digest_of_sources, key_of_rows, read_boxes, write_boxes

BOXES = [
    boxes_of(
        torch.arange(6.0).view(2, 3), features=torch.ones(2, 4), global_features=torch.ones(3)
    ),
    boxes_of(torch.zeros(0, 3), features=torch.ones(0, 4), global_features=torch.zeros(3)),
]


@pytest.fixture(scope="module")
def model():
    return tiny_model("ctmasknet")


@pytest.fixture
def files(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text(name)
    return [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


def key(model, files, *changes, training=True):
    return key_of_rows(tiny_cfg("ctmasknet", *changes), model, files, training)


@pytest.mark.parametrize(
    "changes",
    [
        ["MODEL.RANKED_BOXES.NUM", 17],
        ["MODEL.RPN.NMS_THRESH", 0.5],
        ["MODEL.PIXEL_MEAN", [1.0, 2.0, 3.0]],
        ["INPUT.SQUASH", False],
        ["INPUT.MIN_SIZE_TEST", 64],
    ],
)
def test_settings_that_shape_rows_are_in_the_key(changes, model, files):
    assert key(model, files, *changes) != key(model, files)


def test_settings_that_do_not_are_not(model, files):
    others = ["MODEL.IMAGE_HEAD.LOSS", "cross_entropy", "MODEL.RANKED_BOXES.FILL", "random"]
    others += ["SOLVER.BASE_LR", 9.0, "SEED", 9, "MODEL.DEVICE", "cuda", "OUTPUT_DIR", "x"]
    assert key(model, files, *others) == key(model, files)


def test_weights_of_the_detector_and_precision_are_in_the_key(files, monkeypatch):
    model = tiny_model("ctmasknet")
    first = key(model, files)
    model.image_head.fc1.weight.data += 1
    assert key(model, files) == first
    model.backbone.bottom_up.stem.conv1.norm.running_var[0] += 1e-6
    assert key(model, files) != first
    second = key(model, files)
    monkeypatch.setattr(model, "precision", torch.bfloat16)
    assert key(model, files) != second


def test_content_and_order_of_images_are_in_the_key_but_not_their_names(model, files, tmp_path):
    first = key(model, files)
    assert key(model, files[::-1]) != first and key(model, files[:1]) != first
    assert key(model, files, training=False) != first
    moved = Path(files[0]).rename(tmp_path / "c.png")
    assert key(model, [str(moved), files[1]]) == first
    moved.write_text("A.png")
    assert key(model, [str(moved), files[1]]) != first


def test_code_and_libraries_are_in_the_key(model, files, tmp_path, monkeypatch):
    package = tmp_path / "package"
    for name in ("modeling/nms.py", "data/phantom/fields.py", "evaluation/froc.py", "nms.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("x = 1\n")
    digest = digest_of_sources(package)
    for name in ("evaluation/froc.py", "nms.py"):  # not of rows
        (package / name).write_text("x = 2\n")
    assert digest_of_sources(package) == digest
    found = {digest, ranked_file._CODE}
    for name in ("modeling/nms.py", "data/phantom/fields.py"):
        (package / name).write_text("x = 2\n")
        found.add(digest_of_sources(package))
    (package / "modeling/nms.py").rename(package / "modeling/other.py")
    found.add(digest_of_sources(package))
    assert len(found) == 5

    first = key(model, files)
    monkeypatch.setattr(ranked_file, "_CODE", digest)
    assert key(model, files) != first
    monkeypatch.undo()
    assert key(model, files) == first
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert key(model, files) != first


def test_a_file_gives_back_what_was_written_and_numpy_can_read_it(tmp_path):
    path = tmp_path / "rows.npz"
    write_boxes(path, "key", BOXES)
    for one, other in zip(read_boxes(path, "key"), BOXES, strict=True):
        assert one.tensors().keys() == other.tensors().keys()
        for name, tensor in one.tensors().items():
            torch.testing.assert_close(tensor, other.tensors()[name], rtol=0, atol=0)
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["counts"].tolist() == [2, 0] and arrays["key"] == "key"
