"""The author's checkpoints and `ctmasknet prepare weights`: what it reads, writes and refuses."""

import builtins
import os
import shutil
from pathlib import Path

import pytest
import torch
import torchvision
import yaml
from detectron2.modeling import build_model
from reference_layout import (
    ANCHOR_CLASSES,
    author_network,
    author_weights,
    write_reference_checkpoint,
)
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from ctmasknet.checkpoint import load_weights, read_checkpoint
from ctmasknet.checkpoint.convert import convert_reference_checkpoint
from ctmasknet.engine import load_config

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

FEW_ANCHORS = ((8.0, 16.0, 24.0), (0.5, 2.0))


@pytest.fixture(scope="module")
def weights():
    """A lesion model's, the smallest: R18_T2 with one lesion class."""
    torch.manual_seed(0)
    return author_weights(author_network("R18_T2", 1, width=8, mask_width=4))


def saved(folder, weights, **options):
    return write_reference_checkpoint(folder / "theirs.pth", weights, **options)


ARCHITECTURES = {
    "R18 lesion model, 1 lesion class(es) read as merge": (
        {"name": "R18", "classes": 1},
        {},
        {"RESNETS.DEPTH": 18, "FPN.IN_FEATURES": ["res5"], "ROI_HEADS.IN_FEATURES": ["p5"]},
    ),
    "R18_T1 lesion model, 1 lesion class(es) read as merge": (
        {"name": "R18_T1", "classes": 1, "anchors": FEW_ANCHORS},
        {},
        {"ANCHOR_GENERATOR.SIZES": [[8, 16, 24]], "ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 2]]},
    ),
    "R18_T2 lesion model, 3 lesion class(es) read as they are": (
        {"name": "R18_T2", "classes": 3},
        {},
        {"ROI_HEADS.NUM_CLASSES": 3, "FPN.IN_FEATURES": ["res3"]},
    ),
    "R34_T2 CT-Mask-Net (N = 7, 6 features, 2 image classes), 2 lesion class(es) read as both": (
        {"name": "R34_T2", "classes": 2},
        {"ranked": 7, "fc_dim": 6, "image_classes": 2},
        {"RANKED_BOXES.NUM": 7, "IMAGE_HEAD.FC_DIM": 6, "IMAGE_HEAD.NUM_CLASSES": 2},
    ),
    "R50 lesion model, 2 lesion class(es) read as both": (
        {"name": "R50", "classes": 2, "anchors": FEW_ANCHORS},
        {},
        {"RPN.IN_FEATURES": ["p2", "p3", "p4", "p5"], "ROI_MASK_HEAD.NUM_CONV": 4},
    ),
    "R50 lesion model, 1 lesion class(es) read as merge, frozen norms, pooled RPN level": (
        {"name": "R50", "classes": 1, "norm": FrozenBatchNorm2d, "pooled": True},
        {},
        {"RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"], "RESNETS.NORM": "FrozenBN"},
    ),
    "R50 CT-Mask-Net (N = 5, 8 features, 3 image classes), 1 lesion class(es) read as merge": (
        {"name": "R50", "classes": 1},
        {"ranked": 5},
        {"RPN.IN_FEATURES": ["p2", "p3", "p4", "p5"], "RESNETS.NORM": "BN"},
    ),
}


@pytest.mark.parametrize("description", ARCHITECTURES)
def test_the_architecture_is_read_from_the_tensors(tmp_path, monkeypatch, description):
    network, module_s, expected = ARCHITECTURES[description]
    theirs = author_weights(author_network(width=8, mask_width=4, **network), **module_s)
    anchors = {"anchors": network["anchors"]} if "anchors" in network else {}
    target = tmp_path / "ours.pth"
    found, report = convert_reference_checkpoint(saved(tmp_path, theirs, **anchors), target)
    assert found == description
    assert report.loaded == report.missing == () and report.ignored == {}
    papers = "ranked" in module_s and module_s.get("image_classes", 3) == 3
    named = read_checkpoint(target).settings.get("DATASETS.IMAGE_CLASSES")
    assert named == ('["Control", "Common Pneumonia", "COVID-19"]' if papers else None)

    # The config needs no other file, wherever it is.
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(tmp_path / "ours.yaml", tmp_path / "elsewhere" / "copy.yaml")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "_BASE_" not in yaml.safe_load(Path("copy.yaml").read_text())
    cfg = load_config("copy.yaml", ["MODEL.DEVICE", "cpu"], datasets=False)
    for key, value in {"FPN.OUT_CHANNELS": 8, **expected}.items():
        node = cfg.MODEL
        for part in key.split("."):
            node = node[part]
        assert node == value, key
    assert cfg.MODEL.MASK_ON == (not module_s)
    assert not cfg.MODEL.MASK_ON or cfg.MODEL.ROI_MASK_HEAD.CONV_DIM == 4
    assert cfg.MODEL.WEIGHTS == str(target)
    model = build_model(cfg)
    again = load_weights(model, cfg.MODEL.WEIGHTS)
    assert set(again.converted) == set(report.converted) == set(model.state_dict())


def test_the_background_goes_from_the_first_place_to_the_last_or_away(tmp_path):
    theirs = author_weights(author_network("R18_T2", 2, width=8, mask_width=4))
    convert_reference_checkpoint(saved(tmp_path, theirs), tmp_path / "ours.pth")
    ours = read_checkpoint(tmp_path / "ours.pth").weights
    for kind in ("weight", "bias"):
        scores = theirs[f"roi_heads.box_predictor.cls_score.{kind}"][[1, 2, 0]]
        boxes = theirs[f"roi_heads.box_predictor.bbox_pred.{kind}"][4:]
        masks = theirs[f"roi_heads.mask_predictor.mask_fcn_logits.{kind}"][1:]
        assert torch.equal(ours[f"roi_heads.box_predictor.cls_score.{kind}"], scores)
        assert torch.equal(ours[f"roi_heads.box_predictor.bbox_pred.{kind}"], boxes)
        assert torch.equal(ours[f"roi_heads.mask_head.predictor.{kind}"], masks)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("module", ANCHOR_CLASSES)
def test_every_form_of_the_authors_files_is_read(tmp_path, weights, legacy, module):
    source = saved(tmp_path, weights, legacy=legacy, anchor_module=module)
    _, report = convert_reference_checkpoint(source, tmp_path / "ours.pth")
    assert len(report.converted) == len(weights)


def test_the_command_line(tmp_path, weights, command):
    source, target = saved(tmp_path, weights), tmp_path / "ours.pth"
    _, printed, _ = command("prepare", "weights", source, target, "--mask-type", "ggo")
    assert f"{source}: R18_T2 lesion model, 1 lesion class(es) read as ggo\n" in printed
    table = [line.split() for line in printed.splitlines()]
    assert ["part", "loaded", "converted", "ignored", "missing", "why"] in table
    assert ["backbone.bottom_up", "0", "60", "0", "0"] in table
    assert ["roi_heads.mask_head", "0", "6", "0", "0"] in table
    assert ["total", "0", str(len(weights)), "0", "0"] in table
    assert f"wrote {target} and {tmp_path / 'ours.yaml'}" in printed
    config = yaml.safe_load((tmp_path / "ours.yaml").read_text())
    assert config["INPUT"]["MASK_TYPE"] == "ggo"
    assert config["DATASETS"]["LESION_CLASSES"] == ["GGO"]
    assert read_checkpoint(target).settings["DATASETS.LESION_CLASSES"] == "GGO"
    assert sorted(x.name for x in tmp_path.iterdir()) == ["ours.pth", "ours.yaml", "theirs.pth"]


def test_the_command_line_tells_an_error_in_one_line(tmp_path, weights, command):
    source = saved(tmp_path, weights)
    target = tmp_path / "ours.pth"
    code, _, error = command("prepare", "weights", source, target, "--mask-type", "both")
    assert code == 2
    assert error == f"error: {source}: it has 1 lesion class(es), but mask type 'both' has 2\n"
    assert list(tmp_path.iterdir()) == [source]


class Runs:
    """Pickles as a call of `function`."""

    def __init__(self, function, argument):
        self.call = function, (argument,)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("entry", ["model_weights", "optimizer_state", "anchor_generator"])
@pytest.mark.parametrize("name", ["system", "exec", "eval"])
def test_code_in_a_file_is_never_run(tmp_path, weights, legacy, entry, name):
    ran = tmp_path / "ran"
    call = {
        "system": Runs(os.system, f"touch {ran}"),
        "exec": Runs(builtins.exec, f"open({str(ran)!r}, 'w').close()"),
        "eval": Runs(builtins.eval, f"open({str(ran)!r}, 'w').close()"),
    }[name]
    source = saved(tmp_path, weights, legacy=legacy, **{entry: call})
    with pytest.raises(ValueError, match=f"refers to .*{name}, .*nothing of it was run"):
        convert_reference_checkpoint(source, tmp_path / "ours.pth")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_that_code_would_run_elsewhere(tmp_path, legacy):
    """Prove that the test above can fail."""
    ran = tmp_path / "ran"
    torch.save(
        {"epoch": Runs(os.system, f"touch {ran}")},
        tmp_path / "theirs.pth",
        _use_new_zipfile_serialization=not legacy,
    )
    torch.load(tmp_path / "theirs.pth", weights_only=False)
    assert ran.exists()


def cut(path, weights, legacy):
    write_reference_checkpoint(path, weights, legacy=legacy)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def resnet101(weights):
    with torch.device("meta"):
        names = torchvision.models.resnet101(weights=None).state_dict()
    return {"backbone.body." + name: torch.zeros(()) for name in names}


NO_FILE = "not a file saved by PyTorch; expected a dict with 'model_weights'"
OTHER_ANCHORS = r"30 anchors at each location of 1 level\(s\), but .*sizes \(\(8.0, 16.0, 24.0\),\)"
FILES = {
    "empty": (NO_FILE, lambda path, w: path.touch()),
    "html": (NO_FILE, lambda path, w: path.write_text("<!DOCTYPE html>")),
    "torchscript": ("a TorchScript", lambda path, w: torch.jit.script(nn.ReLU()).save(path)),
    "cut zip": (NO_FILE, lambda path, w: cut(path, w, False)),
    "cut legacy": ("damaged", lambda path, w: cut(path, w, True)),
    "bare": ("no 'model_weights' in it", lambda path, w: torch.save(w, path)),
}
ENTRIES = {
    "no 'model_weights' in it": {"model_weights": None},
    "its anchor generator has no usable 'sizes'": {"anchor_generator": None},
    OTHER_ANCHORS: {"anchors": FEW_ANCHORS},
}
WEIGHTS = {
    "rpn.head.conv.bias holds NaN": lambda w: w | {"rpn.head.conv.bias": torch.tensor([torch.nan])},
    "'epoch', which is no tensor": lambda w: w | {"epoch": 3},
    "neck.weight is no tensor of the author's R18_T2": lambda w: w | {"neck.weight": torch.ones(1)},
    "no ResNet-18, 34 or 50: .* 3, 4, 23, 3 blocks": resnet101,
    "no tensor is called backbone.body": lambda w: {"fc.weight": torch.ones(1)},
    r"our backbone.fpn_output3.bias has the shape \(9,\), but this network needs": (
        lambda w: w | {"backbone.fpn.layer_blocks.0.bias": torch.ones(9)}
    ),
    "a tensor has fewer dimensions": (
        lambda w: w | {"roi_heads.box_predictor.cls_score.weight": torch.ones(())}
    ),
}


@pytest.fixture
def before(tmp_path):
    """A folder with the results of an earlier conversion."""
    (tmp_path / "ours.pth").write_bytes(b"weights")
    (tmp_path / "ours.yaml").write_bytes(b"config")
    return tmp_path


def check_refused(folder, reason, source="theirs.pth", target="ours.pth", **options):
    """Check the reason, and that earlier files stay and none is added."""
    with pytest.raises((ValueError, FileNotFoundError), match=reason):
        convert_reference_checkpoint(folder / source, folder / target, **options)
    assert (folder / "ours.pth").read_bytes() == b"weights"
    assert (folder / "ours.yaml").read_bytes() == b"config"
    assert {x.name for x in folder.iterdir()} <= {"ours.pth", "ours.yaml", "theirs.pth"}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_refused(before, weights, kind):
    reason, write = FILES[kind]
    write(before / "theirs.pth", weights)
    check_refused(before, f"theirs.pth: {reason}")


@pytest.mark.parametrize("reason", ENTRIES)
def test_entries_that_are_refused(before, weights, reason):
    saved(before, weights, **ENTRIES[reason])
    check_refused(before, f"theirs.pth: .*{reason}")


@pytest.mark.parametrize("reason", WEIGHTS)
def test_weights_that_are_refused(before, weights, reason):
    saved(before, WEIGHTS[reason](weights))
    check_refused(before, f"theirs.pth: .*{reason}")


def test_a_missing_tensor_is_noticed(before, weights):
    one_of_each = [
        name
        for name in weights
        if name.endswith((".weight", ".running_var", "mask_fcn1.bias"))
        and not name.startswith("backbone.body.layer")  # as the ResNet's first convolution
    ]
    assert len(one_of_each) > 12
    for name in one_of_each:
        saved(before, {k: x for k, x in weights.items() if k != name})
        check_refused(before, "theirs.pth: .*(missing|nothing for our)")


def test_outputs_and_options_that_are_refused(before, weights):
    saved(before, weights)
    check_refused(before, "must end in .pth", target="ours.pt")
    check_refused(before, "folder: no such folder", target="folder/ours.pth")
    check_refused(before, "none.pth: no such file", source="none.pth")
    with pytest.raises(ValueError, match="another file than the input"):
        convert_reference_checkpoint(before / "theirs.pth", before / "theirs.pth")
    check_refused(before, "1 lesion class.* but mask type 'both' has 2", mask_type="both")
    check_refused(before, "cannot be negative", frozen_eps=-1.0)
    check_refused(before, "has ordinary norms, so that an epsilon of frozen", frozen_eps=0.0)
    frozen = {k: x for k, x in weights.items() if "num_batches_tracked" not in k}
    saved(before, frozen | {"backbone.body.bn1.running_var": torch.zeros(64)})
    check_refused(before, "has a zero: give an epsilon above 0", frozen_eps=0.0)
