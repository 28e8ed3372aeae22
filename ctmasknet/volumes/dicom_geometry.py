"""Whether the slices of a DICOM series lie evenly behind each other along their normal."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import ErrorPolicy
from .dicom_headers import SliceHeader

_MAX_TILT = 0.5  # degrees
_GAP = 1.5  # steps of more than so many median ones miss a slice
_UNEVEN_MM, _UNEVEN = 0.1, 0.05  # other steps may differ by so much, or by this share


def slice_step(headers: list[SliceHeader], source: Path, errors: ErrorPolicy) -> float:
    """The step from slice to slice along the normal.

    Args:
        headers: of one series, in order.
        source: the folder to name in messages.
        errors: of missing slices and uneven steps.

    Returns:
        mm; the median step if the steps differ, and the thickness of a single slice.

    Raises:
        ValueError: slices are missing, or the steps are uneven.
    """
    heights = np.array([header.height for header in headers])
    if len(heights) == 1:
        return headers[0].thickness or 1.0
    steps = np.diff(heights)
    median = float(np.quantile(steps, 0.5, method="lower"))  # one that exists, no average
    gaps = np.flatnonzero(steps > _GAP * median)
    uneven = np.abs(steps - median) > max(_UNEVEN_MM, _UNEVEN * median)
    if len(gaps):
        lost = sum(round(steps[gap] / median) - 1 for gap in gaps)
        where = ", ".join(
            f"{heights[gap]:.1f} and {heights[gap + 1]:.1f} mm ({headers[gap].path.name}, "
            f"{headers[gap + 1].path.name})"
            for gap in gaps[:3]
        )
        errors.handle(
            ValueError(
                f"{source}: about {lost} slice{' is' if lost == 1 else 's are'} missing, between "
                f"{where}"
                f"{', ...' if len(gaps) > 3 else ''}; expected steps of {median:.4g} mm: copy the "
                "series again, completely"
            )
        )
    elif uneven.any():
        errors.handle(
            ValueError(
                f"{source}: found uneven steps of {steps.min():.4g} to {steps.max():.4g} mm "
                f"between slices, expected them even ({median:.4g} mm): choose one reconstruction, "
                "or resample it"
            )
        )
    return median if uneven.any() else float(steps.mean())


def tilt_problem(headers: list[SliceHeader]) -> str:
    """What tells that slices do not lie behind each other along their normal; "" if they do.

    Args:
        headers: of one series, in order.
    """
    tilts = [header.tilt for header in headers if abs(header.tilt) > _MAX_TILT]
    advice = "correct the tilt (e.g. with dcm2niix), or use a series without it"
    if tilts:
        return f"found a gantry tilt of {tilts[0]:g} degrees, expected none: {advice}"
    offsets = np.array([header.position - headers[0].position for header in headers])
    normal = headers[0].axes[:, 2]
    along = offsets @ normal
    aside = np.linalg.norm(offsets - along[:, np.newaxis] * normal, axis=1)
    worst = int(aside.argmax())
    # Positions are often rounded to 0.1 mm.
    if aside[worst] > 0.2 + np.tan(np.radians(_MAX_TILT)) * np.ptp(along):
        return (
            f"found slices shifted by up to {aside[worst]:.1f} mm over {np.ptp(along):.1f} mm "
            f"({headers[worst].path.name}), as by a gantry tilt; expected them straight above each "
            f"other: {advice}"
        )
    return ""
