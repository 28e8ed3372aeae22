"""What a run's folder holds after kills, full disks and divergence, and where the run goes on."""

import json

import pytest
import torch
from torch import nn

from ctmasknet.engine import checkpoints
from ctmasknet.engine.checkpoints import (
    BEST_WEIGHTS,
    RunCheckpointer,
    find_resume_point,
    forget_checkpoints,
)


@pytest.fixture
def run(tmp_path):
    """A checkpointer with three checkpoints and a later best one."""
    checkpointer = RunCheckpointer(nn.Linear(2, 1), str(tmp_path))
    for iteration in (9, 19, 29):
        checkpointer.save(f"model_{iteration:07d}", iteration=iteration)
    checkpointer.save("model_best", iteration=34)
    return checkpointer


def point(folder):
    path, problems = find_resume_point(folder)
    return path and path.name, problems


def test_the_best_is_never_where_a_run_goes_on(run, tmp_path):
    assert (tmp_path / BEST_WEIGHTS).is_file()
    assert point(tmp_path) == ("model_0000029.pth", [])
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000029.pth"  # Detectron2's


def test_the_newest_that_can_be_read_and_what_is_wrong_with_newer_ones(run, tmp_path):
    whole = (tmp_path / "model_0000029.pth").read_bytes()
    (tmp_path / "model_0000029.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "model_0000019.pth").unlink()
    name, problems = point(tmp_path)
    assert name == "model_0000009.pth"
    assert "model_0000029.pth: not a checkpoint" in problems[0] and "0000019" in problems[1]
    (tmp_path / "model_0000009.pth").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no checkpoint of .* can be read: .*29.*19.*09"):
        find_resume_point(tmp_path)


def test_a_checkpoint_that_is_written_again_is_the_newest(run, tmp_path):
    run.save("model_0000009", iteration=9)
    assert point(tmp_path) == ("model_0000009.pth", [])


def test_a_run_that_has_written_none_has_none(tmp_path):
    assert point(tmp_path) == (None, [])
    torch.save({"model": {"x": torch.zeros(1)}}, tmp_path / "model_0000001.pth")
    assert point(tmp_path) == (None, [])  # of an earlier run
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth\n")  # of an older version
    assert point(tmp_path) == ("model_0000001.pth", [])


def test_checkpoints_of_a_diverged_model_are_kept_but_not_gone_on_from(run, tmp_path):
    assert forget_checkpoints(tmp_path, 19) == tmp_path / "model_0000009.pth"
    assert point(tmp_path) == ("model_0000009.pth", [])
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000009.pth"
    assert (tmp_path / "model_0000029.pth").is_file()
    assert forget_checkpoints(tmp_path) is None
    assert point(tmp_path) == (None, [])


def test_a_full_disk_leaves_the_old_checkpoint(run, tmp_path, monkeypatch):
    def fill(content, path):
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc] file write failed\n  stack")

    before = (tmp_path / "model_0000029.pth").read_bytes()
    monkeypatch.setattr(checkpoints.torch, "save", fill)
    for name in ("model_0000029", "model_0000039"):
        with pytest.raises(OSError, match=rf"{name}.pth: could not be written.*MB left.*failed\)$"):
            run.save(name, iteration=int(name[-2:]))
    assert (tmp_path / "model_0000029.pth").read_bytes() == before
    assert point(tmp_path) == ("model_0000029.pth", [])
    assert not list(tmp_path.glob(".*")) and not (tmp_path / "model_0000039.pth").exists()


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "checkpoints.json").write_text(json.dumps([1, 2]))
    with pytest.raises(ValueError, match="checkpoints.json: not a record of checkpoints"):
        find_resume_point(tmp_path)
