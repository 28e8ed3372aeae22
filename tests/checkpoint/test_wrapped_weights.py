"""State dicts as other programs wrap them: under other keys, with "module." before each name."""

import pickle

import pytest
import torch
import torchvision
from reference_layout import author_network, author_weights, write_reference_checkpoint
from tiny_models import tiny_model

from ctmasknet.checkpoint import load_weights, read_checkpoint
from ctmasknet.checkpoint.convert import (
    convert_reference_checkpoint,
    convert_torchvision_checkpoint,
)
from ctmasknet.checkpoint.reference_file import read_reference_checkpoint
from ctmasknet.checkpoint.settings import settings_of
from ctmasknet.checkpoint.tensor_files import find_state_dict

WEIGHTS = {"a.weight": torch.ones(2), "b.bias": torch.zeros(1)}


def with_prefix(prefix, weights):
    return {prefix + name: tensor for name, tensor in weights.items()}


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (WEIGHTS, ""),
        ({"model": WEIGHTS, "optimizer": {"state": {}}, "iteration": 3}, ""),
        ({"state_dict": WEIGHTS, "epoch": 3}, "x.pth: the weights are those under 'state_dict'"),
        ({"model_state_dict": WEIGHTS}, "x.pth: the weights are those under 'model_state_dict'"),
        (
            {"model": with_prefix("module.", WEIGHTS)},
            "x.pth: 'module.' before each name of a tensor was left out",
        ),
        (
            with_prefix("_orig_mod.", WEIGHTS),
            "x.pth: '_orig_mod.' before each name of a tensor was left out",
        ),
        (
            {"state_dict": with_prefix("model.module.", WEIGHTS)},
            "x.pth: the weights are those under 'state_dict' and 'model.module.' before each name "
            "of a tensor was left out",
        ),
    ],
)
def test_the_state_dict_is_found_and_said_to_be(content, note):
    found = find_state_dict("x.pth", content)
    assert found.weights == WEIGHTS and found.note == note


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"model": WEIGHTS, "state_dict": WEIGHTS}, "weights under 'model' and 'state_dict', and"),
        (
            {"module.a.weight": torch.ones(1), **WEIGHTS},
            "of its 3 names of tensors 1 with 'module.' before them, 2 without",
        ),
        (
            {**with_prefix("module.", WEIGHTS), "model.c": torch.ones(1)},
            "of its 3 names of tensors 2 with 'module.', 1 with 'model.' before them, 0 without",
        ),
        (
            {"epoch": 3},
            "no state dict; expected one, bare or under 'model', 'state_dict', 'model_s",
        ),
        ({"state_dict": {**WEIGHTS, "epoch": 3}}, "no state dict"),
        ({0: torch.ones(1)}, "no state dict"),
        ([torch.ones(1)], "no state dict"),
    ],
)
def test_what_is_not_one_whole_state_dict_is_refused(content, reason):
    with pytest.raises(ValueError, match=f"^x.pth: .*{reason}"):
        find_state_dict("x.pth", content)


@pytest.mark.slow  # whole networks
def test_a_model_of_data_parallel_loads_with_its_settings(tmp_path, caplog):
    model, path = tiny_model("lesion", seed=1), tmp_path / "lesion.pth"
    weights = torch.nn.DataParallel(model).state_dict()
    assert all(name.startswith("module.") for name in weights)
    torch.save({"model": weights, "settings": settings_of(model, ("scar",))}, path)
    other = tiny_model("lesion", seed=2)
    report = load_weights(other, path, lesion_classes=("scar",))
    assert set(report.loaded) == set(model.state_dict()) and not report.ignored
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
    assert caplog.messages == [f"{path}: 'module.' before each name of a tensor was left out"]
    with pytest.raises(ValueError, match="lesion classes scar, .* but here they are cyst"):
        load_weights(other, path, lesion_classes=("cyst",))
    # Half of them without: nothing is loaded, with the reason.
    torch.save({"model": {**weights, **model.backbone.state_dict()}}, path)
    with pytest.raises(ValueError, match=r"with 'module\.' before them, \d+ without"):
        load_weights(other, path)


@pytest.mark.slow  # whole networks
def test_what_other_programs_call_settings_is_none_of_ours(tmp_path):
    model, path = tiny_model("lesion"), tmp_path / "lesion.pth"
    content = {"state_dict": model.state_dict(), "settings": {"lr": 0.1}, "converted": True}
    torch.save(content, path)
    assert read_checkpoint(path).settings == {}
    assert len(load_weights(model, path).loaded) == len(model.state_dict())


@pytest.mark.slow  # whole networks
def test_torchvisions_and_the_authors_files_convert(tmp_path):
    theirs, target = tmp_path / "theirs.pth", tmp_path / "ours.pth"
    weights = torchvision.models.resnet18(weights=None).state_dict()
    torch.save({"state_dict": with_prefix("module.", weights)}, theirs)
    text = convert_torchvision_checkpoint(theirs, target)
    assert "the weights are those under 'state_dict' and 'module.' before each name" in text
    assert torch.equal(
        read_checkpoint(target).weights["backbone.bottom_up.stem.conv1.weight"],
        weights["conv1.weight"],
    )
    weights = author_weights(author_network("R18_T2", 1, width=8, mask_width=4))
    write_reference_checkpoint(theirs, with_prefix("module.", weights))
    description, report = convert_reference_checkpoint(theirs, target)
    assert description.endswith("\n'module.' before each name of a tensor was left out")
    assert len(report.converted) == len(weights)


def test_a_pickle_as_of_a_model_zoo_is_refused_without_a_warning(tmp_path, recwarn):
    content = {"model": {name: x.numpy() for name, x in WEIGHTS.items()}, "__author__": "x"}
    (tmp_path / "zoo.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(
        ValueError, match="zoo.pkl: not a checkpoint of tensors alone, or a damaged one;"
    ):
        read_checkpoint(tmp_path / "zoo.pkl")
    assert len(recwarn) == 0


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_with_damaged_bytes_is_named(tmp_path, legacy):
    path = tmp_path / "weights.pth"
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for start in range(0, len(whole), 16):
        path.write_bytes(whole[:start] + b"\x99\xff" + whole[start + 2 :])
        for read in (read_checkpoint, read_reference_checkpoint):
            try:
                read(path)
            except ValueError as error:
                assert str(path) in str(error)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "empty, 0 bytes"),
        (b"<!DOCTYPE html>\n<html>not found</html>", "an HTML page of 38 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 68\n", "a Git LFS"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_are_something_else_are_named(tmp_path, content, found, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path}: .*{found}"):
        read_checkpoint(path)
    if suffix == ".pth":
        with pytest.raises(ValueError, match=f"{path}: not a file saved by PyTorch; .*{found}"):
            convert_reference_checkpoint(path, tmp_path / "ours.pth")
