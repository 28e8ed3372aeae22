import logging

import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from tiny_models import batch, tiny_cfg, tiny_model

from ctmasknet.fast.precision import choose_precision, with_precision

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

LESION, IMAGE = "lesion", "ctmasknet"


@pytest.fixture(params=["amx_bf16", "avx512_bf16"])
def bfloat16(monkeypatch, request):
    instructions = request.param

    def have(it):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instructions: it})

    return have


def test_the_processor_decides(bfloat16, caplog):
    caplog.set_level(logging.INFO)
    for has, name in ((True, "bfloat16"), (False, "float32")):
        bfloat16(has)
        assert choose_precision("cpu")[0] == name
        cfg = with_precision(tiny_cfg(LESION, "MODEL.PRECISION", "auto"))
        assert cfg.MODEL.PRECISION == name
        assert f"precision: {name} on cpu" in caplog.messages[-1]


def test_a_gpu_decides(monkeypatch):
    for capability, name in (((7, 5), "float32"), ((8, 0), "bfloat16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        assert choose_precision("cuda")[0] == name


def test_what_is_asked_for_is_taken_and_the_config_stays(bfloat16):
    bfloat16(True)
    cfg = tiny_cfg(LESION, "MODEL.PRECISION", "float32")
    assert with_precision(cfg).MODEL.PRECISION == "float32"
    cfg.MODEL.PRECISION = "auto"
    with_precision(cfg)
    assert cfg.MODEL.PRECISION == "auto"


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="MODEL.PRECISION is 'half'; valid are auto, float32"):
        with_precision(tiny_cfg(LESION, "MODEL.PRECISION", "half"))
    with pytest.raises(ValueError, match="float16, which is for GPUs; on a CPU use bfloat16"):
        with_precision(tiny_cfg(LESION, "MODEL.PRECISION", "float16"))
    with pytest.raises(ValueError, match="MODEL.PRECISION is 'half'"):
        tiny_model(LESION, "MODEL.PRECISION", "half")


def test_a_model_built_by_hand_from_auto_is_float32(bfloat16):
    bfloat16(True)
    assert tiny_model(LESION, "MODEL.PRECISION", "auto").precision == torch.float32


def test_bfloat16_is_near_and_scores_stay_fine():
    exact, fast = (
        tiny_model(IMAGE, "MODEL.PRECISION", name).eval() for name in ("float32", "bfloat16")
    )
    answers = [model(batch(3))[2] for model in (exact, fast)]
    logits = [answer["image_logits"] for answer in answers]
    assert {x.dtype for x in logits} == {torch.float32}
    assert not torch.equal(*logits)
    torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=0.1)
    for answer in answers:
        rows = answer["ranked_boxes"].rows
        assert rows.dtype == torch.float32
        assert len(rows[:, 0].unique()) == answer["ranked_boxes"].counts  # no ties of bfloat16


@pytest.mark.parametrize("part", ["heads+bn", "full"])
def test_every_trained_weight_has_its_gradient_in_float32(part):
    # Under no_grad the choice of boxes casts the same weights as the scoring with gradient.
    opts = ("MODEL.TRAINABLE", part, "MODEL.PRECISION", "bfloat16")
    model = tiny_model(IMAGE, *opts)
    model(batch())["loss_image"].backward()
    for name, weight in model.named_parameters():
        assert weight.dtype == torch.float32
        if weight.requires_grad:
            assert weight.grad.dtype == torch.float32 and weight.grad.isfinite().all()
            # Deltas of shut-off boxes may be 0, and so their bias's gradient; weights' are not.
            assert weight.grad.abs().sum() > 0, name


def test_a_lesion_model_trains():
    lesions = Instances((64, 64), gt_boxes=Boxes(torch.tensor([[8.0, 8, 40, 40]])))
    lesions.gt_classes = torch.zeros(1, dtype=torch.int64)
    lesions.gt_masks = BitMasks(torch.ones(1, 64, 64, dtype=torch.bool))
    model = tiny_model(LESION, "MODEL.PRECISION", "bfloat16").train()
    with EventStorage():
        losses = model([{**batch(1)[0], "instances": lesions}])
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    sum(losses.values()).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name


def test_float64_networks_stay_in_float64():
    model = tiny_model(IMAGE, "MODEL.PRECISION", "bfloat16").double().eval()
    exact = tiny_model(IMAGE).double().eval()
    answers = [network(batch(1))[0]["image_logits"] for network in (model, exact)]
    assert answers[0].dtype == torch.float64
    torch.testing.assert_close(*answers, rtol=1e-12, atol=1e-12)
