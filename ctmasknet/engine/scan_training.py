"""Training of scan heads on predictions of slices and the labels of scans.

Shapes: G scans, C image classes.
"""

import torch
from torch.nn import functional as F

from ..evaluation.aggregation import group_labels, scan_groups
from ..evaluation.prediction_table import PredictionTable
from ..evaluation.scan_rules import ScanHeadRule, padded
from ..modeling.scan_head import ScanHead

_RATE, _DECAY = 0.05, 0.01  # of AdamW, on all scans at once


def train_scan_head(
    table: PredictionTable, pool: str, hidden: int = 16, steps: int = 500, seed: int = 0
) -> ScanHeadRule:
    """Train a head on the scans of a table; cross-entropy, each class weighs the same.

    Args:
        table: predictions of slices. A scan's label is that of its slices; scans whose slices have
            several labels are left out.
        pool, hidden: see `ScanHead`.
        steps: of the optimiser.
        seed: of the initial weights.

    Raises:
        ValueError: a wrong argument, a class without a scan, or no scan of several slices.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, expected 1 or more")
    groups = scan_groups(table)
    if len(groups) == groups.max() + 1:
        raise ValueError(
            "each scan has a single slice: there is nothing to sum up; name scans in the column "
            "'scan' of the list"
        )
    of_scans, known = group_labels(table.labels, groups)
    labels = torch.from_numpy(of_scans[known])
    counts = torch.bincount(labels, minlength=len(table.class_names))
    if not counts.all():
        name = table.class_names[int(counts.argmin())]
        raise ValueError(f"no scan of the class {name} to learn from")
    slices, valid = (x[torch.from_numpy(known)] for x in padded(table.probabilities(), groups))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        head = ScanHead(pool, len(table.class_names), hidden)
    optimizer = torch.optim.AdamW(head.parameters(), _RATE, weight_decay=_DECAY)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(head(slices, valid), labels, 1 / counts).backward()
        optimizer.step()
    return ScanHeadRule.from_content(
        {
            "pool": pool,
            "hidden": hidden,
            "classes": list(table.class_names),
            "trained_on": {
                "fingerprint": table.fingerprint(),
                "images": len(table.labels),
                "scans": len(labels),
            },
            "training": {"steps": steps, "seed": seed},
            "weights": {name: x.tolist() for name, x in head.state_dict().items()},
        }
    )
