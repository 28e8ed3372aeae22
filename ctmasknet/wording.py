"""Numbers in words, the same in every page, table and message."""

from __future__ import annotations

import math


def counted(number: int, unit: str) -> str:
    """Return a number of something: "1 scan", "2 boxes", "21,191 slices"."""
    plural = "es" if unit.endswith("x") else "s"
    return f"{number:,} {unit}{'' if number == 1 else plural}"


def percent(value: float | None) -> str:
    """Return a fraction as a percentage with one decimal; "-" for None and NaN."""
    return "-" if value is None or math.isnan(value) else f"{value:.1%}"
