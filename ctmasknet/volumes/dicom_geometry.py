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
    """Measure the step from slice to slice along the normal.

    Args:
        headers: of one series, in order.
        source: the folder to name in messages.
        errors: of missing slices and uneven steps.

    Returns:
        mm; the median step if the steps differ, and the thickness of a single slice.
    """
    heights = np.array([header.height for header in headers])
    if len(heights) == 1:
        return headers[0].thickness or 1.0
    steps = np.diff(heights)
    median = float(np.quantile(steps, 0.5, method="lower"))  # one that exists, no average
    uneven = np.abs(steps - median) > max(_UNEVEN_MM, _UNEVEN * median)
    gaps = np.flatnonzero(steps > _GAP * median)
    if len(gaps):
        errors.handle(f"{source}: {_describe_gaps(headers, steps, gaps, median)}")
    elif uneven.any():
        errors.handle(
            f"{source}: found uneven steps of {steps.min():.4g} to {steps.max():.4g} mm "
            f"between slices, expected them even ({median:.4g} mm): choose one reconstruction, "
            "or resample it"
        )
    return median if uneven.any() else float(steps.mean())


def _describe_gaps(
    headers: list[SliceHeader], steps: np.ndarray, gaps: np.ndarray, step: float
) -> str:
    lost = sum(round(steps[gap] / step) - 1 for gap in gaps)
    places = [
        f"{below.height:.1f} and {above.height:.1f} mm ({below.path.name}, {above.path.name})"
        for below, above in (headers[gap : gap + 2] for gap in gaps[:3])
    ]
    return (
        f"about {lost} slice{' is' if lost == 1 else 's are'} missing, between "
        f"{', '.join(places)}{', ...' if len(gaps) > 3 else ''}; expected steps of {step:.4g} mm: "
        "copy the series again, completely"
    )


def tilt_problem(headers: list[SliceHeader]) -> str:
    """Return why the slices of a series are not straight above each other; "" if they are."""
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
