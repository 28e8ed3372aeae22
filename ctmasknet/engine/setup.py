"""From a command line to a frozen config whose files have been checked."""

import logging
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger
from tqdm import tqdm

from ..atomic_write import atomic_write
from ..checkpoint import read_checkpoint
from ..checkpoint.loading import stored_image_classes
from ..checkpoint.model_file import read_model_config
from ..config import get_cfg
from ..config_files import merge_config_file
from ..data.channels import check_channels
from ..data.classes import IMAGE_CLASSES
from ..data.coco_lesions import SET_CROWD
from ..data.image_lists import find_classes
from ..data.images import check_slice, what_else_it_is
from ..data.list_paths import allow_data_roots
from ..data.registration import dataset_source, register_paths
from ..data.window import say_windowed_once
from ..errors import parts_named
from ..evaluation.lesion_files import read_lesions
from ..evaluation.metric_names import check_class_names
from ..evaluation.prediction_table import RESERVED
from ..fast.malloc import keep_freed_memory
from ..modeling import is_classifier, is_one_shot, learns_lesions
from ..shipped_configs import CONFIGS, find_config
from ..shipped_models import find_weights, is_model_file
from .checkpoints import find_resume_point
from .lesion_classes import RUN_CONFIG, check_lesion_keys, match_lesion_classes
from .sampling import has_lesions

logger = logging.getLogger(__name__)
DATASET_KEYS = ("TRAIN", "VALIDATION", "TEST")


def config_from_args(args: Namespace) -> CfgNode:
    """Load the config of a run, check its files and set up its folder and logs.

    Args:
        args: of Detectron2's `default_argument_parser`.

    Returns:
        The frozen config.

    Raises:
        FileNotFoundError, ValueError: see `load_config` and `check_files`.
    """
    from .reports import datasets_to_predict  # with statistics and figures

    cfg = load_config(args.config_file, args.opts, resume=args.resume)
    check_files(cfg, datasets_to_predict(cfg) if args.eval_only else None)
    set_up(cfg, args)
    return cfg


def output_folder(args: Namespace) -> str:
    """Return OUTPUT_DIR of what `config_from_args` would load; raises as `load_config`."""
    return load_config(args.config_file, args.opts, datasets=False).OUTPUT_DIR


def set_up(cfg: CfgNode, args: Namespace | None = None) -> None:
    """Make a run's folder and set up logs and random numbers of the whole process.

    For the program that owns the process: it also lets glibc keep freed memory.

    Args:
        cfg: the frozen config.
        args: the command line, for the log.
    """
    # What Detectron2's default_setup does, but that config.yaml is written whole, and with the
    # paths of data sets that were given as paths.
    rank = comm.get_rank()
    for name in ("fvcore", "detectron2", "ctmasknet"):
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name=name)
    logger.info("environment:\n%s", collect_env_info())
    logger.info("command line: %s", args)
    logger.info("config:\n%s", cfg.dump())
    seed_all_rng(cfg.SEED + rank if cfg.SEED >= 0 else None)
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK and not getattr(args, "eval_only", False)
    keep_freed_memory()
    say_windowed_once()
    if names := cfg.DATASETS.LESION_CLASSES:
        read = f" (INPUT.MASK_TYPE '{cfg.INPUT.MASK_TYPE}')" if learns_lesions(cfg) else ""
        text = "lesion classes in the order of their indices: %s%s"
        logger.info(text, ", ".join(names), read)
    if comm.is_main_process():
        saved = cfg.clone()
        saved.defrost()
        for key in DATASET_KEYS:
            saved.DATASETS[key] = tuple(map(dataset_source, cfg.DATASETS[key]))
        with atomic_write(Path(cfg.OUTPUT_DIR) / RUN_CONFIG) as partial:
            partial.write_text(saved.dump())


def load_config(
    config_file: str, opts: Sequence[str] = (), datasets: bool = True, resume: bool = False
) -> CfgNode:
    """Read a config file, apply overrides, register its data sets and freeze it.

    OUTPUT_DIR becomes output/<MODEL.NAME> unless it is given. Lesion data sets that are not as
    INPUT.MASK_TYPE, INPUT.MIN_LESION_AREA and the run's order of classes want them are written anew
    to OUTPUT_DIR/datasets, and DATASETS names the new ones. DATASETS.IMAGE_CLASSES and
    LESION_CLASSES become what is found. MODEL.DEVICE becomes "cpu" where there is no GPU.

    Args:
        config_file: path of a YAML file or a model file, or the name of a shipped config.
        opts: KEY VALUE pairs.
        datasets: False leaves DATASETS empty, for use without any data set.
        resume: classes are in the order of OUTPUT_DIR's last checkpoint, not of MODEL.WEIGHTS.

    Returns:
        The frozen config.

    Raises:
        FileNotFoundError: no such config file, or data set file.
        ValueError: an unknown key or value, no such meta-architecture, or a data set of the wrong
            kind for the model, that cannot be read as INPUT.MASK_TYPE, or with other lesion
            classes than the run.
    """
    if not config_file:
        raise FileNotFoundError("no --config-file given: name a config")
    path = find_config(config_file)
    cfg = get_cfg()
    default_output = cfg.OUTPUT_DIR
    whole_model = read_model_config(path) if is_model_file(path) else None
    try:
        if whole_model:
            cfg.merge_from_other_cfg(whole_model)
            cfg.DATASETS.DATA_ROOT = ()  # of its maker
            cfg.MODEL.WEIGHTS = str(path)
        else:
            merge_config_file(cfg, path, (path.parent, CONFIGS) if path.name == RUN_CONFIG else ())
        cfg.merge_from_list(list(opts))
        with parts_named("MODEL.META_ARCHITECTURE"):
            is_classifier(cfg)
        check_lesion_keys(cfg)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        if found := what_else_it_is(path):
            raise ValueError(f"{path}: {found}, expected lines of `KEY: VALUE`") from None
        reason = " ".join(str(error).split())
        if reason.startswith(str(path)):
            raise ValueError(reason) from None
        raise ValueError(f"{config_file} or an override of it: {reason}") from None
    if cfg.MODEL.WEIGHTS:
        cfg.MODEL.WEIGHTS = str(find_weights(cfg.MODEL.WEIGHTS))
    cfg.MODEL.NAME = cfg.MODEL.NAME or path.stem
    if default_output == cfg.OUTPUT_DIR:
        cfg.OUTPUT_DIR = str(Path("output") / cfg.MODEL.NAME)
    weights = cfg.MODEL.WEIGHTS
    if datasets:
        allow_data_roots(cfg.DATASETS.DATA_ROOT)
    if datasets and resume:
        weights = str(find_resume_point(cfg.OUTPUT_DIR)[0] or weights)
    if datasets and is_classifier(cfg):
        cfg.DATASETS.IMAGE_CLASSES = _image_classes(cfg, weights)
    classes = cfg.DATASETS.IMAGE_CLASSES or IMAGE_CLASSES
    for key in DATASET_KEYS:
        cfg.DATASETS[key] = register_paths(cfg.DATASETS[key], classes) if datasets else ()
    _check_kinds(cfg)
    if datasets:
        lesions = [name for name in _names(cfg) if _kind(name) == "coco"]
        matched = match_lesion_classes(cfg, lesions, weights)
        for key in DATASET_KEYS:
            cfg.DATASETS[key] = tuple(matched.get(name, name) for name in cfg.DATASETS[key])
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    cfg.freeze()
    return cfg


def _names(cfg: CfgNode) -> list[str]:
    """Return the data sets of a run, each once."""
    return list(dict.fromkeys(name for key in DATASET_KEYS for name in cfg.DATASETS[key]))


def _image_classes(cfg: CfgNode, weights: str) -> tuple[str, ...]:
    """Return the config's image classes or, if it has none, those of its data sets.

    They are in the order of a checkpoint that has them, too.
    """
    if cfg.DATASETS.IMAGE_CLASSES:
        return tuple(cfg.DATASETS.IMAGE_CLASSES)
    names = _names(cfg)
    for name in names:
        if name in DatasetCatalog and "image_classes" in MetadataCatalog.get(name).as_dict():
            return tuple(MetadataCatalog.get(name).image_classes)
    found = find_classes([name for name in names if name.lower().endswith(".csv")])
    stored = stored_image_classes(weights)
    return stored if set(found) <= set(stored) else found


def _kind(name: str) -> str:
    return MetadataCatalog.get(name).evaluator_type  # "image" or "coco"


def _check_kinds(cfg: CfgNode) -> None:
    wanted = "image" if is_classifier(cfg) else "coco"
    kinds = {"image": "an image list (.csv)", "coco": "a lesion data set (.json)"}
    both = ("TRAIN", "TEST") if is_one_shot(cfg) else ()
    found = {_kind(name) for name in cfg.DATASETS.TRAIN}
    if both and found and found != set(kinds):
        raise ValueError(
            f"DATASETS.TRAIN: {', '.join(cfg.DATASETS.TRAIN)}, but MODEL.TRAINABLE "
            f"{cfg.MODEL.TRAINABLE} needs {' and '.join(kinds.values())}"
        )
    for key in DATASET_KEYS:
        for name in cfg.DATASETS[key]:
            kind = _kind(name)
            if kind != wanted and not (key in both and kind in kinds):
                raise ValueError(
                    f"DATASETS.{key}: {name} is {kinds.get(kind, kind)}, but "
                    f"{cfg.MODEL.META_ARCHITECTURE} needs {kinds[wanted]}"
                )


def check_files(cfg: CfgNode, names: Sequence[str] | None = None) -> None:
    """Check lists, image headers, classes and weights before a run starts.

    `names` are the data sets to check, None: all. Raises a FileNotFoundError or ValueError for a
    file that cannot be used, or a data set with other classes than the model.
    """
    if cfg.MODEL.WEIGHTS:
        read_checkpoint(cfg.MODEL.WEIGHTS)
    evaluated = {*cfg.DATASETS.VALIDATION, *cfg.DATASETS.TEST}
    for name in _names(cfg) if names is None else names:
        records = DatasetCatalog.get(name)
        for record in tqdm(records, f"check {name}", unit="slice", leave=False, disable=None):
            check_slice(record["file_name"], check_channels(cfg.INPUT.CHANNELS))
        _check_classes(cfg, name)
        if name in cfg.DATASETS.TRAIN:
            _check_not_skipped(cfg, name, records)
        if name in evaluated and MetadataCatalog.get(name).evaluator_type == "coco":
            read_lesions(MetadataCatalog.get(name).json_file, ())  # its metrics' names, too


def _check_not_skipped(cfg: CfgNode, name: str, records: Sequence[dict]) -> None:
    """Raise a ValueError for training data of which Detectron2 would leave out all."""
    if _kind(name) == "image":
        return
    if any(x["annotations"] for x in records) and all(
        lesion["iscrowd"] for x in records for lesion in x["annotations"]
    ):
        raise ValueError(
            f"DATASETS.TRAIN: all lesions of {name} are marked as crowds (iscrowd 1), which "
            f"training leaves out: {SET_CROWD}"
        )
    if not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        return
    if not any(map(has_lesions, records)):
        raise ValueError(
            f"DATASETS.TRAIN: {name} has no lesions of more than {cfg.INPUT.MIN_LESION_AREA} px, "
            "and training skips slices without: to learn from them set "
            "DATALOADER.FILTER_EMPTY_ANNOTATIONS False"
        )


def _check_classes(cfg: CfgNode, dataset_name: str) -> None:
    """Compare the classes of a loaded data set with the model's, which Detectron2 does not."""
    metadata = MetadataCatalog.get(dataset_name)
    if metadata.evaluator_type == "image":
        check_class_names(metadata.image_classes, RESERVED)
        key, names = "IMAGE", metadata.image_classes
        head, count = "IMAGE_HEAD", cfg.MODEL.IMAGE_HEAD.NUM_CLASSES
    else:
        key, names = "LESION", metadata.thing_classes
        head, count = "ROI_HEADS", cfg.MODEL.ROI_HEADS.NUM_CLASSES
    expected = cfg.DATASETS[f"{key}_CLASSES"]
    if tuple(names) != tuple(expected or names):
        raise ValueError(
            f"{dataset_name} has the classes {', '.join(names)}, expected {', '.join(expected)} as "
            f"in DATASETS.{key}_CLASSES"
        )
    if len(names) != count:
        raise ValueError(
            f"{dataset_name} has {len(names)} classes ({', '.join(names)}), but "
            f"MODEL.{head}.NUM_CLASSES is {count}: set it to {len(names)}"
        )
