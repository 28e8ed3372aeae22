"""R50 of the author's code before November 2020: five RPN levels, of which no tensor tells."""

import pytest
import torch
from reference_layout import author_network, author_weights, write_reference_checkpoint
from reference_oracle import (
    IMAGES,
    RANKED,
    calibrated,
    check_lesions,
    check_ranking,
    converted,
    converted_file,
)
from torchvision.ops import FrozenBatchNorm2d

from ctmasknet.checkpoint.convert import convert_reference_checkpoint
from ctmasknet.engine import load_config

pytestmark = pytest.mark.slow  # whole networks, commands or data sets


def test_a_mask_head_tells_the_age_of_an_r50_classifier(tmp_path):
    for name, tensors, levels, told in (
        ("R50", 12, ["p2", "p3", "p4", "p5", "p6"], "read as merge, pooled RPN level"),
        ("R18_T2", 6, ["p3"], "read as merge"),  # one level anyway
    ):
        network = author_network(name, 1, width=8, mask_width=4)
        theirs = {**author_weights(network), **author_weights(network, 5)}
        file = write_reference_checkpoint(tmp_path / "theirs.pth", theirs)
        found, report = convert_reference_checkpoint(file, tmp_path / "ours.pth")
        assert found.endswith(told)
        assert [*report.ignored.values()] == ["CT-Mask-Net has no mask head"] * tensors
        model = load_config(str(tmp_path / "ours.yaml"), datasets=False).MODEL
        assert (model.RPN.IN_FEATURES, model.RESNETS.NORM) == (levels, "BN")
        assert model.TRAINABLE == "heads+bn"


def old_r50(norm):
    """The author's R50 before November 2020, with a pooled RPN level."""
    torch.manual_seed(4)
    source = calibrated(author_network("R50"))
    with torch.no_grad():  # otherwise few proposals come from the coarse levels
        source.backbone.fpn.layer_blocks[3][0].weight.mul_(5)
    old = author_network("R50", norm=norm, pooled=True)
    old.load_state_dict(source.state_dict())
    old.transform, old.rpn.min_size = source.transform, -1
    return old


def test_r50_classifiers_from_before_november_2020(tmp_path):
    """Ordinary norms and five RPN levels, which 12 unread tensors of a mask head tell."""
    old = old_r50(torch.nn.BatchNorm2d)
    masks = {k: x for k, x in author_weights(old).items() if ".mask_" in k}
    weights = author_weights(old, RANKED)
    assert (len(masks), len(weights)) == (12, 354)
    levels = ["p2", "p3", "p4", "p5"]
    answers = []
    for tensors, found in (({**weights, **masks}, [*levels, "p6"]), (weights, levels)):
        predict = converted(tmp_path, tensors)
        assert predict.cfg.MODEL.RPN.IN_FEATURES == found
        assert predict.cfg.MODEL.RESNETS.NORM == "BN"
        for image in IMAGES.values():
            logits = check_ranking(old, weights, predict, image, torch.float64, 1e-9)
        answers.append((logits, predict(image, torch.float64)["ranked_boxes"].rows))
        # The newer code has four levels.
        old.backbone.fpn.extra_blocks = None
        old.rpn.anchor_generator.cell_anchors.pop()
    (logits, rows), (others, other_rows) = answers  # of the last image
    assert (logits - others).abs().max() > 1e-2
    assert ((rows - other_rows).abs().amax(dim=1) > 1e-3).sum() > RANKED // 4


def test_r50_lesion_models_from_before_november_2020(tmp_path):
    """Frozen norms, whose epsilon depends on the version of torchvision, and five RPN levels."""
    old = old_r50(FrozenBatchNorm2d)
    weights = author_weights(old)
    assert not any("num_batches_tracked" in k for k in weights)
    for name, tensor in weights.items():  # norms in float64: scaling them rounds nothing then
        if name.startswith("backbone.body") and tensor.dim() == 1:
            weights[name] = tensor.double()
    file = write_reference_checkpoint(tmp_path / "theirs.pth", weights)
    scores = []
    for eps in (1e-5, 0.0):
        predict = converted_file(file, tmp_path / "ours.pth", eps)
        assert predict.cfg.MODEL.RESNETS.NORM == "FrozenBN"
        assert predict.cfg.MODEL.RPN.IN_FEATURES == ["p2", "p3", "p4", "p5", "p6"]
        for module in old.modules():
            if isinstance(module, FrozenBatchNorm2d):
                module.eps = eps
        scores.append(check_lesions(old, predict, IMAGES["odd"])[0]["scores"])
    assert (scores[0] - scores[1]).abs().max() > 1e-3  # the epsilon makes a difference
