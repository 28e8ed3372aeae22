"""Tensors that no network has: one error, before they take memory or PyTorch hangs at them."""

import pytest
import torch
from reference_layout import author_network, author_weights, write_reference_checkpoint
from tiny_models import tiny_model

from ctmasknet.checkpoint import load_weights, read_checkpoint
from ctmasknet.checkpoint.convert import convert_reference_checkpoint
from ctmasknet.checkpoint.reference_file import read_reference_checkpoint

TENSORS = {
    "sparse": (lambda: torch.eye(2).to_sparse(), "tensors of another kind"),
    "sparse rows": (lambda: torch.eye(2).to_sparse_csr(), "tensors of another kind"),
    "without values": (lambda: torch.zeros(2, device="meta"), "tensors of another kind"),
    "one number, repeated": (lambda: torch.zeros(1).expand(2**34), "bytes after unpacking"),
    "many times as large": (lambda: torch.zeros(1).expand(2**25), "times the packed bytes"),
    "complex": (lambda: torch.zeros(2, dtype=torch.complex64), "complex numbers"),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", TENSORS)
def test_refused(tmp_path, kind, legacy):
    make, error = TENSORS[kind]
    path = tmp_path / "a.pth"
    torch.save({"model": {"a": make()}}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=rf"a\.pth: .*{error}"):
        read_checkpoint(path)


def test_ordinary_ones_are_read(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    weights = {
        "part": shared[:, 1:],
        "turned": shared.t(),
        "repeated": torch.ones(1).expand(4, 5),
        "learned": torch.nn.Parameter(torch.ones(2)),
        "half": torch.ones(2).bfloat16(),
        "flag": torch.tensor(True),
        "none": torch.zeros(0),
    }
    torch.save({"model": weights}, tmp_path / "a.pth")
    found = read_checkpoint(tmp_path / "a.pth").weights
    assert all(torch.equal(found[name], weights[name]) for name in weights)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"converted": [["a"], {}]}, ""),
        ({"settings": {"DATASETS.IMAGE_CLASSES": "junk"}}, "DATASETS.IMAGE_CLASSES is 'junk'"),
        ({"settings": {"DATASETS.IMAGE_CLASSES": "3"}}, "expected a list of names"),
        ({"settings": {"DATASETS.IMAGE_CLASSES": "[1]"}}, "expected a list of names"),
    ],
)
def test_what_lies_beside_the_weights(tmp_path, more, error):
    path = tmp_path / "a.pth"
    torch.save({"model": {"a": torch.ones(1)}, **more}, path)
    if not error:
        assert not read_checkpoint(path).converted
        return
    with pytest.raises(ValueError, match=rf"a\.pth: .*{error}"):
        read_checkpoint(path)


def test_fewer_dimensions(tmp_path):
    model = tiny_model("ctmasknet")
    weights = {**model.state_dict(), "image_head.fc1.weight": torch.zeros(())}
    torch.save({"model": weights}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: .*another shape for image_head\.fc1\.weight"):
        load_weights(model, tmp_path / "a.pth")


def test_shapes_of_the_authors_files_take_no_memory(tmp_path):
    """A shape without values, or a long thin one, states how large the network is to be."""
    weights = author_weights(author_network("R18_T1", classes=1))
    name = "backbone.fpn.layer_blocks.0.weight"
    path = tmp_path / "a.pth"
    write_reference_checkpoint(path, {**weights, name: torch.zeros(2**31, 0)})
    with pytest.raises(ValueError, match=rf"a\.pth: {name} holds no real numbers"):
        read_reference_checkpoint(path)
    write_reference_checkpoint(path, {**weights, name: torch.zeros(2**20, 1)})
    with pytest.raises(ValueError, match=r"a\.pth: .*this network needs"):
        convert_reference_checkpoint(path, tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()
