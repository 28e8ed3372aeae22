"""Rules from slices to scans that were trained, and their files.

Shapes: S slices, G scans, C image classes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..modeling.scan_head import ScanHead
from ..wording import NOTICE
from .results import write_json
from .rules import Rule, parse_rule

if TYPE_CHECKING:
    from .prediction_table import PredictionTable

_KEYS = {"pool", "hidden", "classes", "weights", "trained_on"}


@dataclass(frozen=True)
class ScanHeadRule(Rule):
    """A scan head as a rule.

    Attributes:
        content: plain values: "pool", "hidden", "classes", "weights" by name and "trained_on", the
            fingerprint of the slices and their number, and the number of scans.
        head: the head, with its weights.
    """

    content: Mapping[str, Any] | None = None
    head: ScanHead | None = None

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> "ScanHeadRule":
        """Build the rule of a file's content; a ValueError if that is something else."""
        try:
            if missing := _KEYS - set(content):
                raise ValueError(f"no {', '.join(sorted(missing))}")
            head = ScanHead(content["pool"], len(content["classes"]), content["hidden"])
            head.load_state_dict({k: torch.tensor(x) for k, x in content["weights"].items()})
            if not all(x.isfinite().all() for x in head.parameters()):
                raise ValueError("weights that are no numbers")
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"not a scan head ({' '.join(str(error).split())})") from None
        return cls(f"{head.pool}_head", content=content, head=head.eval())

    def __call__(self, probabilities: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Return (G, C), rows add up to 1, from (S, C) of groups (S,) in 0..G-1, each occurring."""
        assert self.head is not None
        with torch.no_grad():
            logits = self.head(*padded(probabilities, groups))
        return logits.double().softmax(dim=1).numpy()


def padded(probabilities: np.ndarray, groups: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the slices of each group, (G, most, C) float32, and which places have one."""
    sizes = np.bincount(groups)
    order = np.argsort(groups, kind="stable")
    valid = np.arange(sizes.max()) < sizes[:, np.newaxis]
    slices = np.ones((*valid.shape, probabilities.shape[1]), np.float32)
    slices[valid] = probabilities[order]
    return torch.from_numpy(slices), torch.from_numpy(valid)


def find_rule(text: str) -> Rule:
    """Return a rule by its name, or the scan head of a file (.json).

    Raises:
        FileNotFoundError, ValueError: no such file or rule, or a file of something else.
    """
    path = Path(text)
    if path.suffix != ".json":
        return parse_rule(text)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such scan head; `ctmasknet train-scans` makes one")
    try:
        return ScanHeadRule.from_content(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def rule_of_results(aggregation: Mapping[str, Any]) -> Rule:
    """Return the rule that "aggregation" of a results.json tells."""
    if head := aggregation.get("head"):
        return ScanHeadRule.from_content(head)
    return parse_rule(aggregation["rule"])


def write_scan_head(path: Path, rule: ScanHeadRule) -> None:
    """Write a scan head as JSON, whole or not at all."""
    write_json(path, {"notice": NOTICE, **(rule.content or {})})


def check_rule(
    rule: Rule, class_names: Sequence[str], table: "PredictionTable | None" = None
) -> None:
    """Raise a ValueError for a scan head of other classes, or one trained on the table's slices."""
    if not isinstance(rule, ScanHeadRule) or rule.content is None:
        return
    if tuple(rule.content["classes"]) != tuple(class_names):
        raise ValueError(
            f"the scan head has the classes {', '.join(rule.content['classes'])}, the slices "
            f"{', '.join(class_names)}: expected the same in the same order"
        )
    if table and rule.content["trained_on"]["fingerprint"] == table.fingerprint():
        raise ValueError(
            "the scan head was trained on the reported slices: it cannot be judged on them; give "
            "predictions of others"
        )
