"""The lesion classes of a run: the same names in one order for model, data sets and checkpoint."""

from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode

from ..checkpoint.loading import stored_lesion_classes
from ..config import get_cfg
from ..config_files import merge_config_file
from ..data.mask_rule import MaskRule, check_lesion_names
from ..data.regroup import lesion_classes_of, regrouped_dataset
from ..modeling import is_classifier, learns_lesions
from ..shipped_configs import CONFIGS
from ..wording import counted

RUN_CONFIG = "config.yaml"  # beside the checkpoints of a run
_BY_RULE = ", or change INPUT.MASK_TYPE ('' keeps a data set's classes, 'lesion=*' merges them)"


def check_lesion_keys(cfg: CfgNode) -> None:
    """Raise a ValueError unless the config's keys of lesions can be used and agree.

    A classifier alone reads no masks, so nothing is asked of its INPUT.MASK_TYPE.
    """
    _check_lesion_free_share(cfg)
    count, names = cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.DATASETS.LESION_CLASSES
    if cfg.INPUT.MIN_LESION_AREA < 0:
        raise ValueError(
            f"INPUT.MIN_LESION_AREA is {cfg.INPUT.MIN_LESION_AREA}, expected 0 or more pixels"
        )
    if names:
        try:
            check_lesion_names(names)
        except ValueError as error:
            raise ValueError(f"DATASETS.LESION_CLASSES: {error}") from None
        _check_count(f"DATASETS.LESION_CLASSES has {_listed(names)}", names, count)
    try:
        made = MaskRule.parse(cfg.INPUT.MASK_TYPE).classes
    except ValueError as error:
        raise ValueError(f"INPUT.MASK_TYPE: {error}, or '' for the data set's own") from None
    if made and learns_lesions(cfg):
        rule = f"INPUT.MASK_TYPE is '{cfg.INPUT.MASK_TYPE}'"
        _check_count(f"{rule} with {_listed(made)}", made, count, _BY_RULE)


def match_lesion_classes(cfg: CfgNode, names: Sequence[str], weights: str) -> dict[str, str]:
    """Find the classes of a run, and for each of its data sets one that has them in one order.

    DATASETS.LESION_CLASSES is set, unless it is given: see there. Data sets that are to be read
    otherwise than their files have it are written anew to OUTPUT_DIR/datasets.

    Args:
        cfg: the config, changed in place.
        names: the registered lesion data sets of the run, those of training first.
        weights: the checkpoint that the run starts from, goes on from, or evaluates; "" without.

    Returns:
        Data set -> the one to use for it; itself if it can be used as it is. {} of a
        classifier alone.

    Raises:
        ValueError: a file that cannot be used, other classes in one of the data sets than in the
            run, another number than MODEL.ROI_HEADS.NUM_CLASSES, or an evaluation of weights whose
            several classes nothing names.
    """
    stored, count = stored_lesion_classes(weights), cfg.MODEL.ROI_HEADS.NUM_CLASSES
    if not learns_lesions(cfg) or is_classifier(cfg) and not names:
        if stored:
            _check_count(f"{weights} has {_listed(stored)}", stored, count)
        cfg.DATASETS.LESION_CLASSES = tuple(cfg.DATASETS.LESION_CLASSES) or stored
        return {}
    mask_type, min_area = cfg.INPUT.MASK_TYPE, cfg.INPUT.MIN_LESION_AREA
    if not cfg.DATASETS.LESION_CLASSES:
        for name in names:
            if found := lesion_classes_of(name, mask_type):
                _check_count(f"{name} has {_listed(found)}", found, count, _BY_RULE)
                if not stored and name not in cfg.DATASETS.TRAIN:
                    found = _told_for_weights(cfg, found)
                same = sorted(found) == sorted(stored)
                cfg.DATASETS.LESION_CLASSES = stored if same else found
                break
    order, folder = cfg.DATASETS.LESION_CLASSES, Path(cfg.OUTPUT_DIR) / "datasets"
    return {name: regrouped_dataset(name, mask_type, min_area, folder, order) for name in names}


def told_lesion_classes(cfg: CfgNode) -> tuple[str, ...]:
    """Return the lesion classes that a config names, () if it does not; no data set is read.

    A classifier alone has read no masks, so its INPUT.MASK_TYPE tells nothing.
    """
    made = MaskRule.parse(cfg.INPUT.MASK_TYPE).classes if learns_lesions(cfg) else ()
    names = tuple(cfg.DATASETS.LESION_CLASSES) or made
    return names if len(names) == cfg.MODEL.ROI_HEADS.NUM_CLASSES else ()


def config_beside(weights: str | Path) -> CfgNode | None:
    """Return the config of the run that a checkpoint is of; None without one that can be read."""
    path = Path(weights).parent / RUN_CONFIG
    cfg = get_cfg()
    try:
        merge_config_file(cfg, path, (path.parent, CONFIGS))
    except (OSError, ValueError):
        return None  # of another program
    return cfg


def _check_lesion_free_share(cfg: CfgNode) -> None:
    """Raise a ValueError unless DATALOADER.LESION_FREE_SHARE can be used and has an effect."""
    keys, key = cfg.DATALOADER, "DATALOADER.LESION_FREE_SHARE"
    if not 0 <= keys.LESION_FREE_SHARE < 1:
        raise ValueError(f"{key} is {keys.LESION_FREE_SHARE}, expected 0 to below 1")
    if keys.LESION_FREE_SHARE and is_classifier(cfg):
        raise ValueError(f"{key} is {keys.LESION_FREE_SHARE}, but a classifier reads no lesions")
    wanted = {"FILTER_EMPTY_ANNOTATIONS": False, "SAMPLER_TRAIN": "TrainingSampler"}
    for other, value in wanted.items():
        if keys.LESION_FREE_SHARE and keys[other] != value:
            raise ValueError(
                f"{key} is {keys.LESION_FREE_SHARE}, but DATALOADER.{other} is {keys[other]}: set "
                f"it to {value}"
            )


def _told_for_weights(cfg: CfgNode, found: Sequence[str]) -> tuple[str, ...]:
    """Return the classes of weights that do not name them; those found if there is one, or none."""
    weights = Path(cfg.MODEL.WEIGHTS)
    if len(found) == 1 or not weights.is_file():
        return tuple(found)
    run = config_beside(weights)
    if told := (run and told_lesion_classes(run)) or told_lesion_classes(cfg):
        return told
    raise ValueError(
        f"{weights}: does not tell its lesion classes, and the data may have them in another order "
        f'than training: name them in its order, as in DATASETS.LESION_CLASSES "{tuple(found)}"'
    )


def _listed(names: Sequence[str]) -> str:
    return f"{counted(len(names), 'class')} ({', '.join(names)})"


def _check_count(found: str, names: Sequence[str], count: int, or_else: str = "") -> None:
    if len(names) != count:
        raise ValueError(
            f"{found}, but MODEL.ROI_HEADS.NUM_CLASSES is {count}: set it to {len(names)}{or_else}"
        )
