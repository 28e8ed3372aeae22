"""The peers are of our size, and every contender's step runs."""

import pytest
import torch
from benchmark import steps
from benchmark.inputs import LESIONS, make_batch, round_lesions
from benchmark.settings import Case, Contender, config_of, contenders
from benchmark.steps import build_step, stock_config
from benchmark.torchvision_peer import PeerClassifier, build_peer
from tiny_models import CONFIG_FOLDER, meta_model

from ctmasknet.fast.grey_input import is_grey

pytestmark = pytest.mark.slow  # whole networks, commands or data sets

TINY = ("MODEL.RPN.PRE_NMS_TOPK_TEST", "60", "MODEL.RPN.PRE_NMS_TOPK_TRAIN", "60")


def case(task, config, *opts):
    path = str(CONFIG_FOLDER / f"{config}.yaml")
    return Case(task, path, batch=2, side=64, threads=1, num_ranked=16, opts=(*TINY, *opts))


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", ["R18_T1", "R34_T2", "R50_both"])
def test_peer_has_our_layers(name):
    cfg = config_of(case("inference", f"lesion/{name}"))
    ours = meta_model(cfg)
    with torch.device("meta"):
        peer = build_peer(cfg, 64)
    assert count(peer.backbone) == count(ours.backbone)
    assert count(peer.rpn.head) == count(ours.proposal_generator.rpn_head)
    assert count(peer.roi_heads.box_head) == count(ours.roi_heads.box_head)
    # torchvision predicts a box and a mask for the background, too.
    width = cfg.MODEL.ROI_BOX_HEAD.FC_DIM
    extra = count(peer.roi_heads.box_predictor) - count(ours.roi_heads.box_predictor)
    assert extra == 4 * (width + 1)
    assert count(peer.roi_heads.mask_predictor) > 0
    assert peer.roi_heads.nms_thresh == cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST


@pytest.mark.parametrize("trainable", ["heads", "heads+bn", "full"])
def test_peer_trains_what_we_train(trainable):
    cfg = config_of(case("training", "ctmasknet/R18_T1_heads_BN", "MODEL.TRAINABLE", trainable))

    def trained(module):
        return sum(p.numel() for p in module.parameters() if p.requires_grad)

    peer = PeerClassifier(cfg, 64)
    ours = meta_model(cfg)
    assert trained(peer.image_head) == trained(ours.image_head) == count(peer.image_head)
    assert trained(peer.detector.backbone) == trained(ours.backbone)
    assert trained(peer.detector.rpn) == 0


def test_peer_classifies_and_its_gradient_reaches_batch_norm():
    cfg = config_of(case("training", "ctmasknet/R18_T1_heads_BN"))
    torch.manual_seed(0)
    peer = PeerClassifier(cfg, 64)
    logits = peer(torch.rand(3, 64, 64))
    assert logits.shape == (3,)
    logits.sum().backward()
    assert peer.detector.backbone.stem[1].weight.grad.abs().sum() > 0
    assert peer.detector.backbone.stem[0].weight.grad is None


def test_peer_repeats_boxes_evenly_where_there_are_fewer():
    cfg = config_of(case("training", "ctmasknet/R18_T1_heads_BN"))
    peer = PeerClassifier(cfg, 64)
    boxes = torch.tensor([[[0.0, 0, 8, 8]], [[20, 20, 30, 30]]])
    kept = peer._rank(torch.tensor([[0.2], [0.9]]), boxes, (64, 64))
    assert kept.tolist() == [1] * 8 + [0] * 8


@pytest.fixture
def moved(monkeypatch):
    """What a contender's step of training changes, by name, and its trainable parameters."""
    models, usual = [], steps._training

    def watched(model, *args):
        models.append(model)
        return usual(model, *args)

    monkeypatch.setattr(steps, "_training", watched)

    def names(setting, name):
        step = build_step(setting, Contender(name))
        (model,) = models
        before = {k: x.clone() for k, x in model.state_dict().items()}
        step()
        found = {k for k, x in model.state_dict().items() if not x.equal(before[k])}
        return found, {k for k, x in model.named_parameters() if x.requires_grad}

    return names


@pytest.mark.parametrize("name", ["ctmasknet", "torchvision", "detectron2"])
def test_lesion_training_moves_all_weights(name, moved):
    found, trained = moved(case("training", "lesion/R18_T1", "SOLVER.BASE_LR", "0.001"), name)
    assert len(trained) == 69 and trained <= found
    assert all("running_" in k or "num_batches" in k for k in found - trained)


@pytest.mark.parametrize("name", ["ctmasknet", "torchvision"])
def test_classifier_trains_its_head_and_batch_norm_alone(name, moved):
    found, trained = moved(case("training", "ctmasknet/R18_T1_heads_BN"), name)
    assert found == trained  # and no statistics
    assert sum(k.startswith("image_head.") for k in found) == 6 and len(found) == 36


@pytest.mark.parametrize("name", ["ctmasknet", "torchvision"])
def test_classifier_answers_for_each_image(name):
    setting = case("inference", "ctmasknet/R18_T1_heads_BN")
    assert len(build_step(setting, Contender(name))()) == 2


def test_rows_train_the_image_head_alone(moved):
    setting = case("rows", "ctmasknet/R18_T1_heads")
    found, trained = moved(setting, "ctmasknet")
    assert found == trained and len(found) == 6
    assert all(k.startswith("image_head.") for k in found)
    with pytest.raises(ValueError, match="keeps no ranked rows"):
        build_step(setting, Contender("torchvision"))


def test_stock_layers_are_detectron2s_own():
    cfg = stock_config(config_of(case("inference", "lesion/R18_T1")))
    model = meta_model(cfg)
    rpn, stem = model.proposal_generator, model.backbone.bottom_up.stem
    parts = (model, stem, rpn, rpn.rpn_head, model.roi_heads, model.roi_heads.mask_head)
    assert {type(part).__module__.partition(".")[0] for part in parts} == {"detectron2"}
    with pytest.raises(ValueError, match="no image head"):
        stock_config(config_of(case("inference", "ctmasknet/R18_T1_heads_BN")))


def test_settings_that_cannot_be(monkeypatch):
    with pytest.raises(ValueError, match="batch is 0"):
        Case("inference", "x.yaml", batch=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no GPU here"):
        Case("inference", "x.yaml", device="cuda")
    with pytest.raises(ValueError, match="float16"):
        contenders(["float16"], [], "cpu")
    with pytest.raises(ValueError, match="bfloat17"):
        contenders(["bfloat17"], [], "cpu")


def test_weights_are_random_unless_given():
    given = Case("inference", "x.yaml", opts=("MODEL.WEIGHTS", "model.pth"))
    assert given.weights == "model.pth" and given.text.endswith("model.pth")
    assert config_of(case("inference", "ctmasknet/R18_T1_heads")).MODEL.WEIGHTS == ""


def test_lesions_are_discs_in_their_boxes():
    lesions = round_lesions(64, num_classes=2)
    assert lesions.gt_classes.tolist() == [0, 1, 0, 1]
    # Centre (x 48, y 16), radius 6.4: from 42 to 54, and 55 and 23 are outside.
    assert lesions.gt_boxes.tensor[1].tolist() == [42, 10, 55, 23]
    assert lesions.gt_masks.tensor[1, 16, 54] and not lesions.gt_masks.tensor[1, 16, 55]
    assert not lesions.gt_masks.tensor[1, 10, 42]
    assert len(lesions) == LESIONS


def test_images_are_random_or_read(tmp_path):
    first, second = (make_batch(2, 32, 3, 1) for _ in range(2))
    assert all(is_grey(x["image"]) for x in first)  # as CT is, which is less work for our network
    assert first[1]["image"].shape == (3, 32, 32) and first[1]["label"] == 1
    assert torch.equal(first[1]["image"], second[1]["image"])
    assert not torch.equal(first[0]["image"], first[1]["image"])
    with pytest.raises(FileNotFoundError, match="no PNG"):
        make_batch(1, 32, 3, 1, str(tmp_path))
