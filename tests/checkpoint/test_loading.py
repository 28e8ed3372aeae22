import pickle

import pytest
import torch
from tiny_models import tiny_model

from ctmasknet.checkpoint import load_weights, read_weights
from ctmasknet.checkpoint.loading import NEW_IN_CT_MASK_NET, NEW_IN_LESION_MODEL


@pytest.fixture(scope="module")
def lesion_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "lesion.pth"
    torch.save({"model": tiny_model("lesion", seed=1).state_dict(), "iteration": 3}, path)
    return path


def test_lesion_checkpoint_fills_all_of_ct_mask_net_but_the_image_head(lesion_file):
    model = tiny_model("ctmasknet", seed=2)
    head = model.image_head.fc1.weight.clone()
    report = load_weights(model, lesion_file, NEW_IN_CT_MASK_NET)
    assert all(name.startswith("image_head") for name in report.new) and len(report.new) == 6
    assert all(name.startswith("roi_heads.mask_head") for name in report.ignored)
    assert len(report.loaded) + 6 == len(model.state_dict())
    weights = read_weights(lesion_file)
    assert torch.equal(model.state_dict()[report.loaded[0]], weights[report.loaded[0]])
    assert torch.equal(model.image_head.fc1.weight, head)
    assert "6 new (image_head)" in str(report) and "roi_heads.mask_head" in str(report)


def test_another_architecture_is_refused_and_nothing_changes(lesion_file):
    model = tiny_model("lesion", "MODEL.RESNETS.DEPTH", "34", seed=2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match="another architecture: no value for backbone"):
        load_weights(model, lesion_file)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_another_number_of_classes_is_refused_with_both_shapes(lesion_file):
    model = tiny_model("lesion", "MODEL.ROI_HEADS.NUM_CLASSES", "2")
    with pytest.raises(ValueError, match=r"file \(2, 128\), model \(3, 128\)"):
        load_weights(model, lesion_file)


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
        read_weights(path)
    assert "ran" not in capsys.readouterr().out


def test_missing_file_and_empty_dict_and_nan(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.pth: no such checkpoint"):
        read_weights(tmp_path / "none.pth")
    for content, reason in (({}, "no state dict"), ({"w": torch.tensor([float("nan")])}, "NaN")):
        torch.save(content, tmp_path / "x.pth")
        with pytest.raises(ValueError, match=reason):
            read_weights(tmp_path / "x.pth")
