"""Where a training diverged: named, and gone on from before."""

import json
import math

import pytest
import torch
from tiny_models import tiny_cfg
from torch import nn

from ctmasknet.engine.checkpoints import RunCheckpointer, find_resume_point
from ctmasknet.engine.divergence import BatchNames, divergence_error, left_range_at


@pytest.mark.parametrize(
    ("losses", "since"),
    [
        ([], 5),
        ([2, 1, 1, 1, 1], 5),  # NaN came without a sign
        ([2, 1, 1, 50, 1e9], 3),
        ([90, 9, 1, 1, 1, 1], 6),  # high first losses are in no range yet, but it came back
        ([1, 80, 1, 1, 1e30], 4),
        ([1e8, 1e9, 1e20], 2),  # a resumed run that was diverged already
    ],
)
def test_since_when_the_loss_is_out_of_its_range(losses, since):
    known = [(float(loss), i) for i, loss in enumerate(losses)]
    assert left_range_at(known, len(losses) or 5) == since


def names(*files):
    found = BatchNames()
    found(None, ([{"file_name": file} for file in files],))
    return found


def test_the_error_names_the_batch_and_where_to_start_again(tmp_path):
    checkpointer = RunCheckpointer(nn.Linear(2, 1), str(tmp_path))
    for iteration in (1, 3, 5):
        checkpointer.save(f"model_{iteration:07d}", iteration=iteration)
    cfg = tiny_cfg("lesion", "OUTPUT_DIR", str(tmp_path), "SOLVER.BASE_LR", 0.5)
    # Checkpoint 3 was not seen to be good: the loss of step 4 is the first that uses it.
    losses = [(1.0, 0), (1.0, 1), (1.0, 2), (1.0, 3), (99.0, 4), (1e9, 5)]
    error = divergence_error(
        cfg, FloatingPointError("loss is\nNaN"), names("a.png", "b.png"), losses, 6
    )
    assert "at iteration 6, on the batch of a.png, b.png: loss is NaN." in str(error)
    assert "since iteration 4; " in str(error) and "model_0000001.pth is from before" in str(error)
    assert "lower SOLVER.BASE_LR than 0.5" in str(error)
    assert find_resume_point(tmp_path)[0].name == "model_0000001.pth"
    again = divergence_error(cfg, FloatingPointError("NaN"), names("a.png"), [], 2)
    assert "no checkpoint is from before: start again" in str(again)
    assert find_resume_point(tmp_path) == (None, [])
    assert json.loads(json.dumps(str(again)))  # one line of plain text


def test_a_large_batch_is_not_listed_whole():
    assert str(names(*(f"{i}.png" for i in range(10)))).endswith("7.png and 2 more")


def test_a_model_tells_its_batch():
    found, model = BatchNames(), nn.Identity()
    model.register_forward_pre_hook(found)
    model([{"file_name": "a.png", "image": torch.full((1,), math.nan)}, {}])
    assert str(found) == "a.png, ?"
