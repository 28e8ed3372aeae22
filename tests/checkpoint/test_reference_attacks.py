"""Files made to change what unpickling shares: nothing outside what it makes is changed."""

import io
import pickle

import pytest
import torch

from ctmasknet.checkpoint import reference_file
from ctmasknet.checkpoint.reference_file import AnchorGeneratorStub, read_reference_checkpoint

GENERATOR = b"cmodels.mask_net.rpn\nAnchorGenerator\n"
BACKEND = b"ctorch.nn.backends.thnn\n_get_thnn_function_backend\n"


def value(content):
    """Pickle operations that leave a plain value on the stack."""
    return pickle.dumps(content, 2)[2:-1]


def write_legacy(path, operations):
    """Write a file as PyTorch before 1.6 did, whose content is made by pickle operations."""
    about = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, about)
    parts = [pickle.dumps(x, 2) for x in head]
    path.write_bytes(b"".join([*parts, b"\x80\x02" + operations + b".", pickle.dumps([], 2)]))
    return path


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        (GENERATOR + value((None, {"dump_patches": True})) + b"b", "changes AnchorGeneratorStub"),
        (BACKEND + value({"sizes": 1}) + b"b", "changes _no_backend"),
        (b"ctorch\nSize\n" + value((None, {"numel": 1})) + b"b", "changes Size"),
        (GENERATOR + b")\x81" + value((None, {"sizes": 1})) + b"b", "changes a AnchorGenerator"),
        (value(("module", 3, "x.py", "source")) + b"Q", "refers to a str outside"),
        (value(()) + b"Q", "refers to a NoneType outside"),
        (b"Pname\n", "refers to a thing outside by name"),
    ],
)
def test_what_is_shared_stays_as_it_is(tmp_path, operations, error):
    before = dict(vars(AnchorGeneratorStub)), dict(vars(reference_file._no_backend))
    path = write_legacy(tmp_path / "theirs.pth", operations)
    with pytest.raises(ValueError, match=rf"theirs\.pth: it {error}.*nothing of it was run"):
        read_reference_checkpoint(path)
    assert before == (dict(vars(AnchorGeneratorStub)), dict(vars(reference_file._no_backend)))
    assert list(tmp_path.iterdir()) == [path]


def test_no_source_of_a_class_is_looked_at(tmp_path):
    """PyTorch compares it with the one here and may write the difference to a file."""
    patch = tmp_path / "written"
    source = value("class AnchorGenerator: pass")
    kind = value("module") + GENERATOR + value(str(patch)) + source
    path = write_legacy(tmp_path / "theirs.pth", b"(" + kind + b"tQ")
    with pytest.raises(ValueError, match="no 'model_weights'"):
        read_reference_checkpoint(path)
    assert list(tmp_path.iterdir()) == [path]


def test_that_shared_objects_would_change_elsewhere():
    """Prove that the first test can fail."""

    class Plain(pickle.Unpickler):
        def find_class(self, module, name):
            return shared

    shared = type("Shared", (), {})
    operations = GENERATOR + value((None, {"dump_patches": True})) + b"b."
    Plain(io.BytesIO(b"\x80\x02" + operations)).load()
    assert shared.dump_patches
