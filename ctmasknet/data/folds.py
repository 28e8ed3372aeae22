"""Folds of a lesion data set for cross-validation."""

from .splits import split_coco


def split_folds(coco: dict, folds: int, seed: int) -> list[tuple[dict, dict]]:
    """Split a COCO dictionary of lesions for cross-validation.

    Patients are dealt out as in `split_patients`, stratified by the classes of their lesions; an
    image without a "patient" counts as a patient of its own.

    Args:
        coco: it is not changed.
        folds: 2 or more, at most as many as there are patients.
        seed: the same one gives the same folds on any machine.

    Returns:
        For each fold the part to train on and the part that is held out: COCO dictionaries with
        the ids of `coco`. Each image is held out once.

    Raises:
        ValueError: fewer than two folds, or fewer patients than folds.
    """
    if folds < 2:
        raise ValueError(f"found {folds} folds, expected 2 or more")
    parts = list(split_coco(coco, {f"fold_{i}": 1 for i in range(folds)}, seed).values())
    return [(merged_coco(parts[:i] + parts[i + 1 :]), held_out) for i, held_out in enumerate(parts)]


def merged_coco(parts: list[dict]) -> dict:
    """Put parts of one COCO dictionary together again, images and annotations in order of ids."""
    joined = {
        key: sorted((item for part in parts for item in part[key]), key=lambda item: item["id"])
        for key in ("images", "annotations")
    }
    return {**parts[0], **joined}
