"""One step of each contender: a batch predicted, or one step of training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import nn
from torch.profiler import record_function

from ctmasknet.checkpoint import load_weights
from ctmasknet.engine.optimizer import build_optimizer
from ctmasknet.fast import accelerate
from ctmasknet.modeling import is_classifier

from .inputs import make_batch
from .settings import DETECTRON2, MALLOC, OURS, Case, Contender, config_of
from .torchvision_peer import PeerClassifier, build_peer

PREFIX = "ctmasknet/"  # of the marks by which the profiler knows a part


@dataclass(frozen=True)
class Step:
    """What runs one step when called, and its network."""

    network: nn.Module
    run: Callable[[], object]

    def __call__(self) -> object:
        return self.run()


def build_step(case: Case, contender: Contender) -> Step:
    """Build a contender's network and its step of the case.

    Weights are random, from a fixed seed; ours and stock Detectron2's are MODEL.WEIGHTS if given.

    Raises:
        FileNotFoundError, ValueError: the config, the weights or the images cannot be used, or the
            contender has no such model.
    """
    torch.manual_seed(0)
    cfg = config_of(case, contender.precision)
    labels, lesions = cfg.MODEL.IMAGE_HEAD.NUM_CLASSES, cfg.MODEL.ROI_HEADS.NUM_CLASSES
    batch = make_batch(case.batch, case.side, labels, lesions, case.images)
    if contender.name == OURS:
        model = build_ours(cfg, case.weights, contender.accelerations)
        return _detectron2_step(cfg, model, batch, case.task)
    if contender.name == DETECTRON2:
        cfg = stock_config(cfg)
        model = build_model(cfg)
        if case.weights:
            load_weights(model, case.weights)
        return _detectron2_step(cfg, model, batch, case.task)
    if case.task == "rows":
        raise ValueError(f"{contender.name} keeps no ranked rows")
    peer = PeerClassifier(cfg, case.side) if is_classifier(cfg) else build_peer(cfg, case.side)
    return _torchvision_step(cfg, peer.to(case.device), batch, case)


def build_ours(
    cfg: CfgNode, weights: str, accelerations: tuple[str, ...] | None = None
) -> nn.Module:
    """Our network, with weights ("" for random ones) and accelerated.

    Args:
        cfg: of the network.
        weights: path, or "".
        accelerations: see Contender; None for all if MODEL.FAST.
    """
    model = build_model(cfg)
    if weights:
        load_weights(model, weights)
    if accelerations is not None:
        accelerate(model, [name for name in accelerations if name != MALLOC])
    elif cfg.MODEL.FAST:
        accelerate(model)
    return model


def stock_config(cfg: CfgNode) -> CfgNode:
    """The lesion model of a config in Detectron2's own layers.

    Raises:
        ValueError: it is a CT-Mask-Net, for which Detectron2 has none.
    """
    if is_classifier(cfg):
        raise ValueError("stock Detectron2 has no image head; compare lesion models with it")
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "RPN"
    cfg.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
    cfg.MODEL.ROI_MASK_HEAD.NAME = "MaskRCNNConvUpsampleHead"
    cfg.freeze()
    return cfg


def _detectron2_step(cfg: CfgNode, model: nn.Module, batch: list[dict], task: str) -> Step:
    if task == "inference":
        return _predicting(model, lambda: model(batch))
    if task == "rows":
        zeros = model.image_head.input_shape.zeros(1)[0]  # type: ignore[union-attr,operator]
        batch = [
            {"label": x["label"], "ranked_boxes": replace(zeros, rows=torch.randn_like(zeros.rows))}
            for x in batch
        ]
    optimizer = build_optimizer(cfg, model)
    return _training(model, optimizer, lambda: model(batch).values())


def _torchvision_step(cfg: CfgNode, peer: nn.Module, batch: list[dict], case: Case) -> Step:
    images = [(x["image"].float() / 255).to(case.device) for x in batch]
    if case.task == "inference":  # an image at a time, as the author's code
        if isinstance(peer, PeerClassifier):
            return _predicting(peer, lambda: [peer(image).softmax(0).tolist() for image in images])
        return _predicting(peer, lambda: [peer([image]) for image in images])
    trained = [p for p in peer.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, cfg.SOLVER.BASE_LR, weight_decay=cfg.SOLVER.WEIGHT_DECAY)
    if isinstance(peer, PeerClassifier):
        labels = torch.tensor([x["label"] for x in batch])
        wanted = nn.functional.one_hot(labels, cfg.MODEL.IMAGE_HEAD.NUM_CLASSES).float()
        wanted = wanted.to(case.device)

        def losses() -> Iterable[torch.Tensor]:
            pairs = zip(images, wanted, strict=True)
            loss = nn.functional.binary_cross_entropy_with_logits
            return [loss(peer(image), target) / len(images) for image, target in pairs]

        return _training(peer, optimizer, losses)
    targets = [_target(x, case.device) for x in batch]
    return _training(peer, optimizer, lambda: peer(images, targets).values())


def _target(item: dict, device: str) -> dict[str, torch.Tensor]:
    lesions = item["instances"]
    target = {
        "boxes": lesions.gt_boxes.tensor,
        "labels": lesions.gt_classes + 1,
        "masks": lesions.gt_masks.tensor.to(torch.uint8),
    }
    return {key: value.to(device) for key, value in target.items()}


def _predicting(model: nn.Module, predict: Callable[[], object]) -> Step:
    model.eval()
    return Step(model, torch.no_grad()(predict))


def _training(
    model: nn.Module, optimizer: torch.optim.Optimizer, losses: Callable[[], Iterable]
) -> Step:
    model.train()
    if isinstance(model, PeerClassifier):
        model.detector.eval()  # type: ignore[union-attr]

    def step() -> None:
        with EventStorage():
            loss = sum(losses())
        optimizer.zero_grad()
        with record_function(f"{PREFIX}backward"):
            loss.backward()
        with record_function(f"{PREFIX}optimizer"):
            optimizer.step()

    return Step(model, step)
