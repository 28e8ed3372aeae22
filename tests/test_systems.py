"""The papers' systems in small: lesion models train, predict and hand their weights on."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from test_configs import LIGHT
from tiny_models import batch, small_cfg

from ctmasknet.checkpoint import load_weights
from ctmasknet.checkpoint.loading import NEW_IN_CT_MASK_NET
from ctmasknet.engine.optimizer import build_optimizer

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

SIZE = (64, 96)


def lesion_batch(num_classes):
    masks = torch.zeros(2, *SIZE, dtype=torch.bool)
    masks[0, 10:40, 20:60], masks[1, 45:60, 5:30] = True, True
    boxes = Boxes(torch.tensor([[20.0, 10, 60, 40], [5, 45, 30, 60]]))
    classes = torch.arange(2) % num_classes
    truth = Instances(SIZE, gt_boxes=boxes, gt_classes=classes, gt_masks=BitMasks(masks))
    return [{**item, "instances": truth} for item in batch(2, SIZE)]


def step(model, cfg, inputs):
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = build_optimizer(cfg, model)
    with EventStorage():
        losses = model(inputs)
    sum(losses.values()).backward()
    optimizer.step()
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    return losses, changed


SMALL = ["R18_T1", "R18_T2"]
SLOW = [name for name in LIGHT if name not in SMALL] + ["R50_merge", "R50_both"]


# R50_ggo is R50_merge under another name of its class.
@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(x, marks=pytest.mark.slow) for x in SLOW)])
def test_system(name, tmp_path):
    torch.manual_seed(0)
    cfg = small_cfg(f"lesion/{name}")
    classes = cfg.MODEL.ROI_HEADS.NUM_CLASSES
    model = build_model(cfg)
    losses, changed = step(model, cfg, lesion_batch(classes))
    assert set(losses) == {
        "loss_rpn_cls",
        "loss_rpn_loc",
        "loss_cls",
        "loss_box_reg",
        "loss_mask",
    }
    assert changed == {n for n, _ in model.named_parameters()}
    with torch.no_grad():
        (found,) = model.eval()(batch(1, SIZE))
    assert found["instances"].pred_masks.shape[1:] == SIZE
    torch.save({"model": model.state_dict()}, tmp_path / "lesion.pth")

    for part in ("heads", "heads_BN", "full"):
        cfg = small_cfg(f"ctmasknet/{name}_{part}")
        net = build_model(cfg)
        report = load_weights(net, tmp_path / "lesion.pth", NEW_IN_CT_MASK_NET)
        assert all(n.startswith("image_head") for n in report.missing)
        trainable = {n for n, p in net.named_parameters() if p.requires_grad}
        losses, changed = step(net, cfg, batch(2, SIZE))
        assert set(losses) == {"loss_image"}
        assert changed <= trainable and any(n.startswith("image_head") for n in changed)
        assert part == "heads" or any(n.startswith("backbone") for n in changed)
        with torch.no_grad():
            (output,) = net.eval()(batch(1, SIZE))
        assert output["ranked_boxes"].rows.shape == (cfg.MODEL.RANKED_BOXES.NUM, 5)
        assert output["ranked_boxes"].classes.max() < classes
        torch.save({"model": net.state_dict()}, tmp_path / "image.pth")
        assert load_weights(net, tmp_path / "image.pth").missing == ()
