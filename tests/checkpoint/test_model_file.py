"""Model files: what is in them, and what becomes of damaged and hostile ones."""

import json
import pickle
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ctmasknet.checkpoint import read_checkpoint
from ctmasknet.checkpoint.model_file import (
    read_metadata,
    read_model_config,
    read_model_file,
    write_model_file,
)

METADATA = {
    "name": "own",
    "config": "MODEL:\n  NAME: own\n",
    "window": "1500,-600",
    "field_of_view": "image",
    "license": "CC-BY-4.0",
    "terms": "not stated",
    "DATASETS.LESION_CLASSES": "GGO,C",
}
WEIGHTS = {
    "weight": torch.tensor([[1.0, -0.1, 65504.0]]),
    "bias": torch.tensor([0.1]),
    "large": torch.tensor([[1e5, 0.1]]),  # beyond float16
    "batches": torch.tensor(7),
    "none": torch.zeros(0, 3),
}


@pytest.fixture
def file(tmp_path):
    write_model_file(tmp_path / "own.safetensors", WEIGHTS, METADATA)
    return tmp_path / "own.safetensors"


def header_of(file):
    """The header of a safetensors file, and the bytes after it."""
    content = file.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8:end]), content[end:]


def write_header(file, header, data):
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_weights_in_float16_and_back(file):
    with safe_open(file, "pt") as stored:
        types = {name: stored.get_tensor(name).dtype for name in stored.keys()}  # noqa: SIM118
    assert types == {
        "weight": torch.float16,
        "bias": torch.float32,
        "large": torch.float32,
        "batches": torch.int64,
        "none": torch.float16,
    }
    weights, about = read_model_file(file)
    assert weights["weight"].tolist() == [[1.0, torch.tensor(-0.1).half().item(), 65504.0]]
    assert all(weights[name].equal(WEIGHTS[name]) for name in ("bias", "large", "batches"))
    assert {x.dtype for x in weights.values()} == {torch.float32, torch.int64}
    assert METADATA.items() <= about.items() and len(about["sha256"]) == 64


def test_others_may_read_it(file):
    """As the files of a user's program, by his umask."""
    (file.parent / "other").touch()
    assert file.stat().st_mode == (file.parent / "other").stat().st_mode


def test_a_checkpoint_like_any_other(file):
    found = read_checkpoint(file)
    assert set(found.weights) == set(WEIGHTS)
    assert found.settings["DATASETS.LESION_CLASSES"] == "GGO,C"


def test_nothing_is_written_where_writing_fails(tmp_path):
    with pytest.raises(Exception, match="expected|str"):
        write_model_file(tmp_path / "own.safetensors", WEIGHTS, {**METADATA, "name": 3})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [-1, -9, 5])
def test_a_changed_byte_of_tensors_is_refused(file, place):
    header, data = header_of(file)
    changed = bytearray(data)
    changed[place] ^= 1
    write_header(file, header, bytes(changed))
    with pytest.raises(ValueError, match=f"{file}: damaged: its content has not the SHA-256"):
        read_checkpoint(file)


@pytest.mark.parametrize("change", ["window", "config", "swap", "shape"])
def test_a_changed_header_is_refused(file, change):
    header, data = header_of(file)
    if change == "swap":
        header["weighs"] = header.pop("weight")
    elif change == "shape":
        header["weight"]["shape"] = [3, 1]
    else:
        header["__metadata__"][change] += "0"
    write_header(file, header, data)
    with pytest.raises(ValueError, match=f"{file}: damaged: its content has not the SHA-256"):
        read_checkpoint(file)


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_truncated_file(file, length):
    file.write_bytes(file.read_bytes()[:length])
    for read in (read_metadata, read_model_file, read_model_config, read_checkpoint):
        with pytest.raises(ValueError, match=f"^{file}: damaged, or no model file .*ctmasknet pa"):
            read(file)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 64,  # a header of 2^64 bytes
        struct.pack("<Q", 8) + b"not json",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 60) + b'{"x":{"dtype":"F16","shape":[9],"data_offsets":[0,18]}}     ',
        pickle.dumps({"model": 1}),
    ],
)
def test_a_wrong_header(file, content):
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{file}: damaged, or no model file"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "tensors of another program, without a config"),
        ({"format": "pt"}, "tensors of another program, without a config"),
        ({"ctmasknet_format": "2", "ctmasknet": "9.1"}, "of format 2, written by ctmasknet 9.1"),
        ({"ctmasknet_format": "1"}, "its metadata lack ctmasknet, name, config"),
        ({**METADATA, "ctmasknet_format": "1", "ctmasknet": "0.1.0"}, "its metadata lack sha256"),
    ],
)
def test_missing_metadata(tmp_path, change, message):
    file = tmp_path / "x.safetensors"
    save_file({"x": torch.zeros(2)}, file, change)
    for read in (read_checkpoint, read_model_config):
        with pytest.raises(ValueError, match=f"^{file}: .*{message}"):
            read(file)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("window", "soft", "unusable metadata: window 'soft'"),
        ("DATASETS.IMAGE_CLASSES", "Control,COVID-19", "unusable metadata"),
        ("DATASETS.IMAGE_CLASSES", "3", "unusable metadata"),
    ],
)
def test_metadata_that_mean_nothing(tmp_path, key, text, message):
    file = tmp_path / "x.safetensors"
    write_model_file(file, WEIGHTS, {**METADATA, key: text})
    with pytest.raises(ValueError, match=f"^{file}: {message}"):
        read_metadata(file)


def test_types_that_are_not_written(tmp_path, file):
    about = read_metadata(file)
    save_file({"x": torch.zeros(2, dtype=torch.float8_e4m3fn)}, file, about)
    with pytest.raises(ValueError, match=f"^{file}: x is torch.float8_e4m3fn"):
        read_checkpoint(file)


def test_nan(tmp_path):
    file = tmp_path / "x.safetensors"
    write_model_file(file, {"bad": torch.tensor([1, torch.nan])}, METADATA)
    with pytest.raises(ValueError, match=f"^{file}: bad holds NaN or infinity"):
        read_checkpoint(file)


@pytest.mark.parametrize("config", ["- a", "3", "a: [", "{1: 2, 3: 4}: x", "a: 2020-01-01", ""])
def test_a_config_that_is_none(tmp_path, config):
    file = tmp_path / "x.safetensors"
    write_model_file(file, WEIGHTS, {**METADATA, "config": config})
    with pytest.raises(ValueError, match=f"^{file}: the config in it: "):
        read_model_config(file)


def test_no_code_in_a_config_is_run_and_no_file_read(tmp_path):
    file, made = tmp_path / "x.safetensors", tmp_path / "made"
    code = f"MODEL: !!python/object/apply:os.mkdir ['{made}']"
    write_model_file(file, WEIGHTS, {**METADATA, "config": code})
    with pytest.raises(ValueError, match="the config in it: found the tag"):
        read_model_config(file)
    assert not made.exists()


def test_it_is_never_unpickled(file, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("unpickled")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads")):
        monkeypatch.setattr(module, name, fail)
    assert read_checkpoint(file).weights["batches"].item() == 7
    file.write_bytes(pickle.dumps({"model": {}}))
    with pytest.raises(ValueError, match="no model file"):
        read_checkpoint(file)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="x.safetensors: no such model file"):
        read_checkpoint(tmp_path / "x.safetensors")
