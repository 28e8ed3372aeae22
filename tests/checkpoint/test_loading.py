import pickle

import pytest
import torch
from detectron2.modeling import build_backbone
from tiny_models import tiny_cfg, tiny_model

from ctmasknet.checkpoint import load_weights, read_checkpoint
from ctmasknet.checkpoint.loading import (
    NEW_IN_CT_MASK_NET,
    NEW_IN_LESION_MODEL,
    save_converted,
)
from ctmasknet.checkpoint.settings import settings_of

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


@pytest.fixture(scope="module")
def lesion_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "lesion.pth"
    torch.save({"model": tiny_model("lesion", seed=1).state_dict(), "iteration": 3}, path)
    return path


def test_lesion_checkpoint_fills_all_of_ct_mask_net_but_the_image_head(lesion_file):
    model = tiny_model("ctmasknet", seed=2)
    head = model.image_head.fc1.weight.clone()
    report = load_weights(model, lesion_file, NEW_IN_CT_MASK_NET)
    assert all(name.startswith("image_head") for name in report.missing)
    assert all(name.startswith("roi_heads.mask_head") for name in report.ignored)
    assert len(report.missing) == 6 and len(report.ignored) == 6 and report.converted == ()
    assert len(report.loaded) + 6 == len(model.state_dict())
    weights = read_checkpoint(lesion_file).weights
    assert torch.equal(model.state_dict()[report.loaded[0]], weights[report.loaded[0]])
    assert torch.equal(model.image_head.fc1.weight, head)
    table = [line.split(maxsplit=5) for line in str(report).splitlines()]
    assert ["image_head", "0", "0", "0", "6", "missing: starts as initialised"] in table
    assert ["roi_heads.mask_head", "0", "0", "6", "0", "ignored: this model has no mask head"] in (
        table
    )
    assert table[-1] == ["total", str(len(report.loaded)), "0", "6", "6"]


def test_a_semantic_branch_is_left_out_of_a_ct_mask_net_alone(lesion_file, tmp_path):
    weights = read_checkpoint(lesion_file).weights
    torch.save({**weights, "sem_seg_head.p2.0.weight": torch.zeros(1)}, tmp_path / "semantic.pth")
    report = load_weights(
        tiny_model("ctmasknet"), tmp_path / "semantic.pth", new=NEW_IN_CT_MASK_NET
    )
    assert "no semantic branch" in report.ignored["sem_seg_head.p2.0.weight"]
    with pytest.raises(ValueError, match="another architecture.*sem_seg_head"):
        load_weights(tiny_model("lesion"), tmp_path / "semantic.pth")


def test_another_architecture_is_refused_and_nothing_changes(lesion_file):
    model = tiny_model("lesion", "MODEL.RESNETS.DEPTH", "34", seed=2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match="another architecture: no value for backbone"):
        load_weights(model, lesion_file)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_another_number_of_classes_is_refused_with_both_numbers(lesion_file):
    model = tiny_model("lesion", "MODEL.ROI_HEADS.NUM_CLASSES", "2")
    with pytest.raises(ValueError, match=r"has 1 lesion class.*config 2 \(MODEL.ROI_HEADS.NUM_CL"):
        load_weights(model, lesion_file)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("RANKED_BOXES.NUM", 32, r"has 16 ranked boxes \(N\), the config 32"),
        ("IMAGE_HEAD.FC_DIM", 4, "has 8 features of the image head, the config 4"),
        ("IMAGE_HEAD.NUM_CLASSES", 2, "has 3 image classes, the config 2"),
        ("ANCHOR_GENERATOR.SIZES", [[4]], "has 30 anchors, the config 6"),
        # 16 rows of 5 do not make whole rows of 6.
        ("RANKED_BOXES.CLASS_ONE_HOT", True, r"another shape.*\(8, 80\).*\(8, 96\)"),
    ],
)
def test_other_numbers_are_refused_with_both(tmp_path, key, value, message):
    torch.save(tiny_model("ctmasknet").state_dict(), tmp_path / "image.pth")
    model = tiny_model("ctmasknet", f"MODEL.{key}", value)
    with pytest.raises(ValueError, match=message):
        load_weights(model, tmp_path / "image.pth")


def test_class_agnostic_boxes_do_not_hide_another_number_of_classes(tmp_path):
    agnostic = ("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True)
    torch.save(tiny_model("lesion", *agnostic).state_dict(), tmp_path / "one.pth")
    with pytest.raises(ValueError, match="has 1 lesion class.*the config 2"):
        two = tiny_model("lesion", *agnostic, "MODEL.ROI_HEADS.NUM_CLASSES", 2)
        load_weights(two, tmp_path / "one.pth")


@pytest.mark.parametrize(
    ("key", "found", "expected"),
    [
        ("ANCHOR_GENERATOR.NAME", "RoundedAnchorGenerator", "DefaultAnchorGenerator"),
        ("RANKED_BOXES.ENCODING", "image", "deltas"),
    ],
)
def test_settings_that_no_shape_tells_are_compared(tmp_path, key, found, expected):
    made = tiny_model("ctmasknet", f"MODEL.{key}", found)
    save_converted(tmp_path / "made.pth", made.state_dict(), settings_of(made))
    load_weights(made, tmp_path / "made.pth")
    with pytest.raises(ValueError, match=f"MODEL.{key} {found}, the config says {expected}"):
        load_weights(tiny_model("ctmasknet"), tmp_path / "made.pth")


@pytest.fixture
def two_classes(tmp_path):
    """A checkpoint that names two lesion classes."""
    model = tiny_model("lesion", "MODEL.ROI_HEADS.NUM_CLASSES", 2)
    save_converted(tmp_path / "two.pth", model.state_dict(), settings_of(model, ("scar", "cyst")))
    return tmp_path / "two.pth"


def test_lesion_classes_are_compared_by_name_and_order(two_classes):
    model = tiny_model("lesion", "MODEL.ROI_HEADS.NUM_CLASSES", 2)
    for fits in (("scar", "cyst"), ()):
        load_weights(model, two_classes, lesion_classes=fits)
    for other in (("cyst", "scar"), ("scar", "GGO")):
        with pytest.raises(ValueError, match=f"scar, cyst, in this .* here they are {other[0]}, "):
            load_weights(model, two_classes, lesion_classes=other)


def test_advice_is_what_can_be_done(two_classes, tmp_path):
    model = tiny_model("lesion", "MODEL.ROI_HEADS.NUM_CLASSES", 2)
    with pytest.raises(ValueError, match=r"; set DATASETS.LESION_CLASSES \"\('scar', 'cyst'\)\"$"):
        load_weights(model, two_classes, (), ("cyst", "scar"))
    with pytest.raises(ValueError, match="has 2 lesion .*config 1 .*from a backbone alone .* of 1"):
        load_weights(tiny_model("lesion"), two_classes, NEW_IN_LESION_MODEL)


def test_image_classes_are_compared_by_name_and_order(tmp_path, caplog):
    model, path = tiny_model("ctmasknet"), tmp_path / "image.pth"
    own = ("well", "ill", "grave")
    save_converted(path, model.state_dict(), settings_of(model, image_classes=own))
    load_weights(model, path, image_classes=own)
    with pytest.raises(ValueError, match="well, ill, grave, in .*; set DATASETS.IMAGE_CLASSES"):
        load_weights(model, path, NEW_IN_CT_MASK_NET, image_classes=own[::-1])
    with pytest.raises(ValueError, match="image classes well, .* here they are a, b, c"):
        load_weights(model, path, image_classes=("a", "b", "c"))
    load_weights(model, path, NEW_IN_CT_MASK_NET, image_classes=("a", "b", "c"))
    assert "made for the image classes well, ill, grave, training starts" in caplog.text


def test_training_may_start_from_other_lesions_but_not_from_another_order(two_classes, caplog):
    model = tiny_model("lesion", "MODEL.ROI_HEADS.NUM_CLASSES", 2)
    load_weights(model, two_classes, NEW_IN_LESION_MODEL, ("nodule", "scar"))
    assert "made for the lesion classes scar, cyst, training starts" in caplog.text
    with pytest.raises(ValueError, match="scar, cyst, in this order, but here they are cyst, scar"):
        load_weights(model, two_classes, NEW_IN_LESION_MODEL, ("cyst", "scar"))
    image = tiny_model("ctmasknet", "MODEL.ROI_HEADS.NUM_CLASSES", 2)  # learns no lesions
    with pytest.raises(ValueError, match="scar, cyst, in this order, but here they are nodule"):
        load_weights(image, two_classes, NEW_IN_CT_MASK_NET, ("nodule", "scar"))


def test_converted_tensors_and_stages_after_the_cut_are_told_apart(tmp_path):
    body = build_backbone(
        tiny_cfg(
            "lesion",
            "MODEL.FPN.IN_FEATURES",
            ["res5"],
            "MODEL.RESNETS.OUT_FEATURES",
            ["res5"],
            "MODEL.RPN.IN_FEATURES",
            ["p5"],
            "MODEL.ROI_HEADS.IN_FEATURES",
            ["p5"],
        )
    ).bottom_up.state_dict()
    whole = {f"backbone.bottom_up.{k}": v for k, v in body.items()}
    save_converted(tmp_path / "r18.pth", whole)
    model = tiny_model("lesion")
    report = load_weights(model, tmp_path / "r18.pth", NEW_IN_LESION_MODEL)
    assert report.loaded == () and len(report.converted) == 90
    assert len(report.ignored) == len(whole) - 90
    assert set(report.ignored.values()) == {"ignored: stages after the cut"}
    # A whole lesion model is not cut in silence.
    torch.save({**whole, "backbone.fpn_lateral5.bias": torch.zeros(256)}, tmp_path / "lesion.pth")
    with pytest.raises(ValueError, match="a tensor this model does not have"):
        load_weights(model, tmp_path / "lesion.pth", NEW_IN_LESION_MODEL)


def test_ct_mask_net_without_its_head_is_refused_for_evaluation(lesion_file):
    with pytest.raises(ValueError, match="no value for image_head"):
        load_weights(tiny_model("ctmasknet"), lesion_file)


def test_backbone_alone_starts_a_lesion_model(tmp_path):
    path = tmp_path / "backbone.pth"
    source = tiny_model("lesion", seed=1).backbone.bottom_up.state_dict()
    torch.save({f"backbone.bottom_up.{k}": v for k, v in source.items()}, path)
    report = load_weights(tiny_model("lesion", seed=2), path, NEW_IN_LESION_MODEL)
    assert len(report.loaded) == len(source)


class RunsCode:
    def __reduce__(self):
        return print, ("code from the checkpoint ran",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a checkpoint"),
        (b"<html>not found</html>", "not a checkpoint"),
        (pickle.dumps(RunsCode(), protocol=2), "not a checkpoint"),
    ],
    ids=["empty", "html", "code"],
)
def test_files_that_are_no_checkpoint(tmp_path, content, reason, capsys):
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"bad.pth: {reason}"):
        read_checkpoint(path)
    assert "ran" not in capsys.readouterr().out


def test_missing_file_and_empty_dict_and_nan(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.pth: no such checkpoint"):
        read_checkpoint(tmp_path / "none.pth")
    for content, reason in (({}, "no state dict"), ({"w": torch.tensor([float("nan")])}, "NaN")):
        torch.save(content, tmp_path / "x.pth")
        with pytest.raises(ValueError, match=reason):
            read_checkpoint(tmp_path / "x.pth")


def test_a_torchvision_file_names_the_tool(tmp_path):
    torch.save({"layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match="convert it with `ctmasknet prepare weights` first"):
        load_weights(tiny_model("lesion"), tmp_path / "resnet.pth", NEW_IN_LESION_MODEL)
