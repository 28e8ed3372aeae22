"""Label maps (masks) beside scans, told from CT by their few whole values or patches."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..data.images import read_slice
from ..wording import counted
from . import sitk
from .formats import by_folder, is_image
from .safe_reader import checked_reader
from .sitk_headers import unpacked_nifti

MOST_LABELS = 32  # values that are enough to tell; CT has hundreds
# More labels, as of all organs, are told by their patches. Neighbours in one are equal; in 8-bit CT
# noise leaves few that are, but for black and white, which many windows saturate to.
_EQUAL, _FEWEST_PAIRS, _PLANES = 0.8, 100, 8
_MOST_BYTES = 255  # the highest value of a label


def is_label_map(values: np.ndarray) -> bool:
    """Return whether values are whole, 0 to 255, not all the same, and few or in patches.

    Args:
        values: (Y, X) or (Z, Y, X), perhaps with channels behind.
    """
    sample = values.reshape(-1)[:: max(1, values.size // 4096)]
    if sample.min() < 0 or sample.max() > _MOST_BYTES:  # HU, soon decided
        return False
    if len(np.unique(sample)) > MOST_LABELS and not _in_patches(values):
        return False
    if values.min() < 0 or values.max() > _MOST_BYTES:
        return False
    if values.dtype.kind == "f" and not (values == np.rint(values)).all():
        return False
    counts = sum(np.bincount(part.ravel().astype(np.uint8), minlength=256) for part in values)
    found = np.count_nonzero(counts)
    return bool(1 < found <= MOST_LABELS or found > MOST_LABELS and _in_patches(values))


def _in_patches(values: np.ndarray) -> bool:
    """Return whether most neighbours along the last but one axis are equal, in some planes."""
    planes = values[:: max(1, len(values) // _PLANES)] if values.ndim > 2 else values
    one, other = planes[..., :-1, :], planes[..., 1:, :]
    grey = (one > 0) & (one < _MOST_BYTES) & (other > 0) & (other < _MOST_BYTES)
    pairs = np.count_nonzero(grey)
    return bool(pairs >= _FEWEST_PAIRS and np.mean(one[grey] == other[grey]) >= _EQUAL)


def label_map_problem(values: np.ndarray) -> str:
    """Return why values are those of a label map, no CT; "" if they are not."""
    if not is_label_map(values):
        return ""
    count = len(np.unique(values))
    return (
        f"found only {count} whole values from {values.min():g} to {values.max():g}, expected HU: "
        "a label map (mask), no CT; give the scan that it belongs to"
    )


def is_label_volume(path: Path) -> bool:
    """Return whether a volume file is a label map by its voxels; False if it cannot be read."""
    try:
        if ".nii" in path.name.lower():
            with unpacked_nifti(path) as plain:
                image = checked_reader(plain, path)[0].Execute()
        else:
            image = checked_reader(path, path)[0].Execute()
        return is_label_map(sitk.GetArrayViewFromImage(image))
    except (OSError, RuntimeError, ValueError):  # reading it as a scan says why
        return False


def without_label_maps(paths: Sequence[Path], say: Callable[[str], object]) -> list[Path]:
    """Return the volume files, or images, that are no label maps; `say` takes a line of the others.

    Of the images of a folder some are looked at first; only if one of them is a label map, the
    others are.
    """
    kept: list[Path] = []
    for folder, mine in by_folder(paths).items():
        images = is_image(mine[0])
        labels = _label_images(mine) if images else list(filter(is_label_volume, mine))
        if images and labels:
            which = f"{labels[0].name}{', ...' if len(labels) > 1 else ''}"
            say(f"{folder}: {counted(len(labels), 'label map')} (mask), no CT: {which}")
        elif labels:
            for path in labels:
                say(f"{path}: a label map (mask), no CT")
        kept += [path for path in mine if path not in set(labels)]
    return kept


def _label_images(paths: Sequence[Path]) -> list[Path]:
    middle = len(paths) // 2
    sample = dict.fromkeys([*paths[:3], *paths[middle : middle + 2], *paths[-2:]])
    if not any(map(_is_label_image, sample)):
        return []
    found = [path for path in paths if _is_label_image(path)]
    rest = [path for path in paths if path not in set(found)]
    return list(paths) if all(map(_is_blank, rest)) else found


def _is_label_image(path: Path) -> bool:
    return path.suffix.lower() not in (".jpg", ".jpeg") and is_label_map(_grey(path))


def _is_blank(path: Path) -> bool:
    values = _grey(path)
    return bool(values.min() == values.max() == 0)


def _grey(path: Path) -> np.ndarray:
    """Return one channel of an image; values that are no labels if it cannot be read as a slice."""
    try:
        return read_slice(path)[..., 0]
    except (OSError, ValueError):
        return np.array([[-1]])
