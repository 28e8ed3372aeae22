"""Names of the metrics of a class."""

from __future__ import annotations

import re
from collections.abc import Sequence


def metric_suffix(class_name: str) -> str:
    """Turn a class name into a metric's suffix: Detectron2 hides metrics with a "-" in them."""
    return re.sub(r"\W+", "_", class_name)


def any_lesion(class_names: Sequence[str]) -> str:
    """Return the suffix for any class: "lesion", or "any" where one of several is a "lesion"."""
    taken = len(class_names) > 1 and "lesion" in map(metric_suffix, class_names)
    return "any" if taken else "lesion"


def check_class_names(names: Sequence[str], taken: Sequence[str]) -> None:
    """Raise a ValueError if two classes, or a class and a suffix of `taken`, would clash."""
    suffixes = [*map(metric_suffix, names), *taken]
    if len(set(suffixes)) < len(suffixes):
        raise ValueError(
            f"found the classes {', '.join(names)}, expected names that differ in letters and "
            f"digits, none of them {' or '.join(taken)}"
        )
