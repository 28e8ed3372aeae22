"""The short set: both models beside torchvision, in less than five minutes on two cores."""

from __future__ import annotations

import statistics
from pathlib import Path

from .rounds import Measurement, measure
from .settings import OURS, TORCHVISION, Case, Contender, best_precisions, contenders

_CONFIGS = Path(__file__).parents[2] / "configs"
CLASSIFIER = str(_CONFIGS / "ctmasknet" / "R18_T1_heads_BN.yaml")
HEADS = str(_CONFIGS / "ctmasknet" / "R18_T1_heads.yaml")
LESION = str(_CONFIGS / "lesion" / "R18_T1.yaml")
EPOCHS, IMAGES = 50, 3000  # of a training of the heads in the papers
BUDGET = 15.0  # seconds for the counted rounds of a case


def short_cases(threads: int, device: str) -> list[Case]:
    """Inference and training of both models, R18_T1."""
    settings = (
        ("inference", CLASSIFIER, 8),
        ("inference", LESION, 8),
        ("training", CLASSIFIER, 8),
        ("training", LESION, 1),
    )
    return [
        Case(task, config, batch, threads=threads, device=device)
        for task, config, batch in settings
    ]


def heads_parts(threads: int, device: str) -> list[tuple[Case, list[Contender]]]:
    """The other parts of `heads_estimate`: the image head's step and the peer's step."""
    rows = Case("rows", HEADS, threads=threads, device=device)
    peer = Case("training", HEADS, threads=threads, device=device)
    return [(rows, [Contender(OURS)]), (peer, [Contender(TORCHVISION)])]


def heads_estimate(inference: Measurement, rows: Measurement, peer: Measurement) -> dict:
    """Seconds of training the heads, computed from measured parts without running it.

    Args:
        inference: our classification, whose pass gives the ranked rows once.
        rows: our steps on kept rows.
        peer: torchvision's training of the image head, which ranks boxes anew in every epoch.

    Returns:
        "ctmasknet_seconds", "torchvision_seconds" and their ratio "times_faster".
    """
    once, each, theirs = (
        IMAGES * statistics.median(m.seconds) / m.case.batch for m in (inference, rows, peer)
    )
    ours, others = once + EPOCHS * each, EPOCHS * theirs
    return {
        "ctmasknet_seconds": ours,
        "torchvision_seconds": others,
        "times_faster": others / ours,
    }


def describe_heads(estimate: dict) -> str:
    """The estimate in words."""
    return (
        f"heads, {EPOCHS} epochs of {IMAGES} images, computed from the steps above, not run: "
        f"{estimate['ctmasknet_seconds']:.0f} s ({IMAGES} passes in float32, then {EPOCHS} epochs "
        f"on the kept rows), torchvision "
        f"{estimate['torchvision_seconds']:.0f} s, {estimate['times_faster']:.1f} times"
    )


def measure_case(case: Case) -> list[Measurement]:
    """Ours in the best precisions of the device, beside torchvision."""
    return measure(
        case, contenders(best_precisions(case.device), [TORCHVISION], case.device), budget=BUDGET
    )
