"""Words and numbers as people read them, the same in every page, table and message."""

import math
import re
from collections.abc import Sequence

NOTICE = "Research use only, not for diagnosis."
UNKNOWN = "–"

# Within a name; those at its end ("COVID-") and between digits ("1-2") tell.
_GAPS = re.compile(r"(?<=[^\W\d])[\s_-]+(?=\w)|(?<=\d)[\s_-]+(?=[^\W\d])")


def counted(number: int, unit: str) -> str:
    """Return a number of something: "1 scan", "2 boxes", "3 classes"."""
    plural = "es" if unit.endswith(("x", "ss")) else "s"
    return f"{number:,} {unit}{'' if number == 1 else plural}"


def number_ranges(numbers: Sequence[int]) -> str:
    """Return ascending whole numbers in few words: "0 to 4, 7, 9 to 10"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a} to {b}" if b > a else str(a) for a, b in runs)


def percent(value: float | None) -> str:
    """Return a fraction as a percentage with one decimal; "-" for None and NaN."""
    return "-" if value is None or math.isnan(value) else f"{value:.1%}"


def area_text(px: float | None, mm2: float | None) -> str:
    """Return an area in mm2, in pixels where their size is unknown; "–" where both are."""
    if mm2 is not None and math.isfinite(mm2):
        return f"{mm2:,.0f} mm²"
    return UNKNOWN if px is None else f"{px:,.0f} px"


def volume_text(ml: float) -> str:
    """Return a volume in ml with as many decimals as its size deserves."""
    if 0 < ml < 0.01:
        return "<0.01 ml"
    decimals = 0 if ml >= 100 or ml == 0 else 1 if ml >= 10 else 2
    return f"{ml:,.{decimals}f} ml"


def same_but_for_spelling(names: Sequence[str]) -> tuple[str, str] | None:
    """Return two names that differ in case, or in blanks, _ and - within them, alone; or None."""
    known: dict[str, str] = {}
    for name in names:
        plain = _GAPS.sub("", name.strip().casefold())
        if known.setdefault(plain, name) != name:
            return known[plain], name
    return None
