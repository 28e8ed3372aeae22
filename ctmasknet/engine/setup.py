"""From the command line to a frozen config."""

from argparse import Namespace
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from yaml import YAMLError

from ..config import get_cfg
from ..data.registration import register_paths

SPLITS = ("TRAIN", "VALIDATION", "TEST")


def config_from_args(args: Namespace) -> CfgNode:
    """Build the config of a run and set up its folder and logs.

    The output folder is output/<stem of the config file> unless OUTPUT_DIR is given. Data sets
    given as paths are registered.

    Args:
        args: of Detectron2's `default_argument_parser`.

    Returns:
        The frozen config.

    Raises:
        FileNotFoundError: the config file, or a data set's file, does not exist.
    """
    cfg = load_config(args.config_file, args.opts)
    set_up(cfg, args)
    return cfg


def set_up(cfg: CfgNode, args: Namespace | None = None) -> None:
    """Make the run's folder, its logs and its random numbers.

    Args:
        cfg: the frozen config.
        args: the command line, to be logged.
    """
    default_setup(cfg, args or Namespace())
    # Detectron2 sets up its own loggers only; without this the plugin's lines are lost.
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="ctmasknet")


def load_config(config_file: str, opts: list[str] | tuple[str, ...] = ()) -> CfgNode:
    """Read a config file, apply overrides, register its data sets and freeze it.

    MODEL.DEVICE becomes "cpu" where there is no GPU.

    Args:
        config_file: path of a YAML file.
        opts: KEY VALUE pairs.

    Returns:
        The frozen config.

    Raises:
        FileNotFoundError: no such config file.
        ValueError: an unknown key or value, or a data set of the wrong kind for the model.
    """
    if not Path(config_file).is_file():
        raise FileNotFoundError(
            f"{config_file or 'no --config-file given'}: no such config file; see configs/"
        )
    cfg = get_cfg()
    default_output = cfg.OUTPUT_DIR
    try:
        cfg.merge_from_file(config_file)
        cfg.merge_from_list(list(opts))
    except (AssertionError, KeyError, ValueError, YAMLError) as error:
        raise ValueError(f"{config_file} or an override of it: {error}") from None
    for split in SPLITS:
        cfg.DATASETS[split] = register_paths(cfg.DATASETS[split])
    _check_kinds(cfg)
    if default_output == cfg.OUTPUT_DIR:
        cfg.OUTPUT_DIR = str(Path("output") / Path(config_file).stem)
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    cfg.freeze()
    return cfg


def _check_kinds(cfg: CfgNode) -> None:
    wanted = "image" if cfg.MODEL.META_ARCHITECTURE == "CTMaskNet" else "coco"
    kinds = {"image": "an image list (.csv)", "coco": "a lesion data set (.json)"}
    for split in SPLITS:
        for name in cfg.DATASETS[split]:
            kind = MetadataCatalog.get(name).evaluator_type
            if kind != wanted:
                raise ValueError(
                    f"DATASETS.{split}: {name} is {kinds.get(kind, kind)}, but "
                    f"{cfg.MODEL.META_ARCHITECTURE} needs {kinds[wanted]}"
                )
