"""The numbers of classes of a training, from its files, where the user has not set them."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checkpoint import read_checkpoint
from ..config import get_cfg
from ..config_files import read_config_file
from ..data.coco_lesions import in_file, read_lesion_classes
from ..data.image_lists import find_classes
from ..data.images import what_else_it_is
from ..data.mask_rule import PAPERS_CLASSES, MaskRule
from ..shipped_configs import CONFIGS, find_config

_RULE, _IMAGE_CLASSES = "INPUT.MASK_TYPE", "DATASETS.IMAGE_CLASSES"


def fit_classes(
    args: argparse.Namespace, words: Sequence[str], weights: Path | None
) -> tuple[list[Any], list[str]]:
    """Return the numbers of classes in the files, as overrides and in words for the log.

    Args:
        args: of `ctmasknet train`, whose config_file is set.
        words: its KEY VALUE pairs. What they or the user's own YAML file set stays as it is.
        weights: the checkpoint to start from.

    Raises:
        FileNotFoundError, ValueError: a config, list or lesion file that cannot be used.
    """
    given = _own_keys(find_config(args.config_file))
    given |= dict(zip(words[::2], words[1::2], strict=True))
    cfg = get_cfg()
    cfg.merge_from_list([x for k in (_RULE, _IMAGE_CLASSES) if k in given for x in (k, given[k])])
    files = [Path(name) for name in (*args.train, *args.validation, *args.test)]
    lists = [path for path in files if path.suffix.lower() == ".csv"]
    lesions = [path for path in files if path.suffix.lower() == ".json" and path.is_file()]
    fitted: dict[str, Any] = {}
    notes = []
    if names := cfg.DATASETS.IMAGE_CLASSES or (find_classes(lists) if lists else ()):
        fitted["MODEL.IMAGE_HEAD.NUM_CLASSES"] = len(names)
        notes.append(f"image classes of the data: {', '.join(names)}")
    if lists and weights:
        if count := _lesion_classes_in(weights):
            fitted["MODEL.ROI_HEADS.NUM_CLASSES"] = count
            notes.append(f"lesion classes of {args.weights}: {count}")
    elif lesions and not lists:
        found = read_lesion_classes(lesions[0])
        with in_file(lesions[0]):
            # Lesions of the papers' names are read as a shipped config says, others as they are.
            if _RULE in given or not set(found) <= PAPERS_CLASSES:
                names = tuple(MaskRule.parse(cfg.INPUT.MASK_TYPE).apply(found))
                fitted |= {"MODEL.ROI_HEADS.NUM_CLASSES": len(names), _RULE: cfg.INPUT.MASK_TYPE}
                notes.append(f"lesion classes of {lesions[0]}: {', '.join(names)}")
    fitted = {key: value for key, value in fitted.items() if key not in given}
    if fitted:
        pairs = ", ".join(f"{key} {value!r}" for key, value in fitted.items())
        notes.append(f"so unless they are given: {pairs}")
    return [x for pair in fitted.items() for x in pair], notes


def _own_keys(file: Path) -> dict[str, Any]:
    """Return what a user's YAML file and his bases of it set; nothing for a shipped config."""
    if CONFIGS.resolve() in file.resolve().parents:
        return {}
    try:
        return dict(_flat(read_config_file(file, without=CONFIGS)))
    except ValueError:
        if found := what_else_it_is(file):
            raise ValueError(f"{file}: {found}, expected lines of `KEY: VALUE`") from None
        raise


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _lesion_classes_in(weights: Path) -> int:
    """Return how many lesion classes a checkpoint tells apart; 0 for a backbone alone."""
    scores = read_checkpoint(weights).weights.get("roi_heads.box_predictor.cls_score.weight")
    return 0 if scores is None else len(scores) - 1  # the last one is the background
