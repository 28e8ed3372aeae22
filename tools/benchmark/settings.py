"""What is measured: a task under settings, by a contender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from detectron2.config import CfgNode

from ctmasknet.config import require_one_of
from ctmasknet.engine import load_config
from ctmasknet.fast.precision import check_precision, choose_precision

OURS, TORCHVISION, DETECTRON2 = "ctmasknet", "torchvision", "detectron2"
PEERS = (TORCHVISION, DETECTRON2)
TASKS = ("inference", "training", "rows")
MALLOC = "malloc"  # keep_freed_memory, which is a process's and not in ACCELERATIONS


@dataclass(frozen=True)
class Case:
    """One setting, the same for all contenders.

    Attributes:
        task: "inference"; "training": one step of the optimiser; or "rows": one step of a
            CT-Mask-Net's image head on ranked rows that were kept.
        config_file: path of a YAML file.
        batch: images of a step.
        side: height and width of the images in pixels.
        threads: of PyTorch.
        device: "cpu", "cuda", "cuda:1", ...
        num_ranked: N, MODEL.RANKED_BOXES.NUM.
        images: folder of PNG files; None for random pixels.
        opts: overrides of the config, KEY VALUE.
    """

    task: str
    config_file: str
    batch: int = 8
    side: int = 512
    threads: int = 2
    device: str = "cpu"
    num_ranked: int = 128
    images: str | None = None
    opts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_one_of("task", self.task, TASKS)
        for name in ("batch", "side", "threads", "num_ranked"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if torch.device(self.device).type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device {self.device}: PyTorch finds no GPU here; use --device cpu")

    @property
    def weights(self) -> str:
        """MODEL.WEIGHTS of the overrides; "" for random weights, whatever the config file says."""
        given = dict(zip(self.opts[::2], self.opts[1::2], strict=False))
        return given.get("MODEL.WEIGHTS", "")

    @property
    def text(self) -> str:
        """The setting in a line."""
        return (
            f"{Path(self.config_file).stem} {self.task}, batch {self.batch}, "
            f"{self.side} x {self.side}, N {self.num_ranked}, {self.threads} thread(s), "
            f"{self.device}, {self.weights or 'random weights'}"
        )


@dataclass(frozen=True)
class Contender:
    """Whose network, and how it computes; peers compute in float32.

    Attributes:
        name: OURS or one of PEERS.
        precision: of our network.
        accelerations: of our network: names of ACCELERATIONS and MALLOC; None for all.
    """

    name: str
    precision: str = "float32"
    accelerations: tuple[str, ...] | None = None

    @property
    def keeps_memory(self) -> bool:
        """Whether its process keeps freed memory."""
        chosen = self.accelerations
        return self.name == OURS and (chosen is None or MALLOC in chosen)


def contenders(precisions: Sequence[str], peers: Sequence[str], device: str) -> list[Contender]:
    """Ours in each precision, then the peers.

    Raises:
        ValueError: unknown precision or peer.
    """
    for precision in precisions:
        check_precision(precision, device)
    for peer in peers:
        require_one_of("--peers", peer, PEERS)
    return [*(Contender(OURS, x) for x in precisions), *map(Contender, peers)]


def best_precisions(device: str) -> list[str]:
    """float32, and what the hardware is better at, if anything."""
    return list(dict.fromkeys(["float32", choose_precision(device)[0]]))


def config_of(case: Case, precision: str = "float32") -> CfgNode:
    """The frozen config of a case, without data sets.

    Raises:
        FileNotFoundError, ValueError: see `load_config`.
    """
    fixed = {
        "MODEL.DEVICE": case.device,
        "MODEL.PRECISION": precision,
        "MODEL.RANKED_BOXES.NUM": case.num_ranked,
        "MODEL.WEIGHTS": case.weights,
    }
    opts = [*case.opts, *(str(x) for pair in fixed.items() for x in pair)]
    return load_config(case.config_file, opts, datasets=False)
