"""Left and right lung: the column between them.

Columns of upright volumes go from the patient's right to the left.
"""

import numpy as np

_VALLEY = 0.5  # of the lower of the two lungs' most: with more lung in it, it is not between two


def find_midline(lung: np.ndarray) -> float | None:
    """Return the column between the lungs, where the middle half of them holds least lung.

    One column serves all slices: heart and oblique patients move it in single slices.

    Args:
        lung: (Z, H, W) bool, upright.

    Returns:
        A column, the mean of those that hold as little; None without two lungs side by side.
    """
    counts = np.count_nonzero(lung, axis=(0, 1))
    columns = np.flatnonzero(counts)
    if not len(columns):
        return None
    first, last = int(columns[0]), int(columns[-1]) + 1
    quarter = (last - first) // 4
    middle = counts[first + quarter : last - quarter]
    column = first + quarter + float(np.flatnonzero(middle == middle.min()).mean())
    sides = counts[: round(column)], counts[round(column) + 1 :]
    most = [side.max(initial=0) for side in sides]
    return column if middle.min() <= _VALLEY * min(most) and min(most) > 0 else None
