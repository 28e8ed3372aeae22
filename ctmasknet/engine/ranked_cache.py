"""Ranked boxes that training does not change, computed once.

With MODEL.TRAINABLE "heads" the image head alone is trained, and it reads nothing but an image's
ranked boxes: with these in memory an epoch takes seconds. Labels still come from the data set.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, build_detection_test_loader
from detectron2.evaluation import inference_context
from detectron2.utils import comm
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..data.mapper import SliceMapper
from ..modeling import RankedBoxes, reads_boxes
from .batches import build_train_loader, leave_interrupts
from .ranked_file import key_of_rows, read_boxes, write_boxes

logger = logging.getLogger(__name__)
_NETWORK_BATCH = 8  # images at once through the whole network
_HEAD_BATCH = 64  # images at once through the image head


def rows_are_cached(cfg: CfgNode) -> bool:
    """Return whether a run trains the image head alone and keeps ranked boxes."""
    return (
        reads_boxes(cfg)
        and cfg.MODEL.TRAINABLE == "heads"
        and cfg.DATALOADER.RANKED_BOXES_FOLDER != "none"
    )


def what_varies(cfg: CfgNode) -> str:
    """Return the key by which images differ from epoch to epoch, and its value; "" without one."""
    sizes = () if cfg.INPUT.SQUASH else cfg.INPUT.MIN_SIZE_TRAIN  # a squash takes the first
    if cfg.INPUT.RANDOM_FLIP != "none":
        return f"INPUT.RANDOM_FLIP is {cfg.INPUT.RANDOM_FLIP}"
    if cfg.INPUT.CROP.ENABLED:
        return "INPUT.CROP.ENABLED is True"
    if any(cfg.INPUT.AUGMENT.values()):
        return f"INPUT.AUGMENT is {dict(cfg.INPUT.AUGMENT)}"
    if len(set(sizes)) > 1:
        return f"INPUT.MIN_SIZE_TRAIN is {tuple(sizes)}"
    return ""


def build_ranked_train_loader(cfg: CfgNode, model: nn.Module) -> DataLoader:
    """Build Detectron2's loader of DATASETS.TRAIN with "ranked_boxes" in the place of images.

    No image may vary, and the CTMaskNet must hold its weights. Raises a ValueError if an image has
    no label, and what `ranked_boxes` does.
    """
    datasets = {name: DatasetCatalog.get(name) for name in cfg.DATASETS.TRAIN}
    for name, records in datasets.items():  # checked first, as boxes may take hours
        for record in records:
            if "label" not in record:
                raise ValueError(f"DATASETS.TRAIN: {name} has no label for {record['file_name']}")
    boxes: dict[str, RankedBoxes] = {}
    # Computing boxes may draw random numbers: with the loader built before, the order of images is
    # the same whether boxes are computed or read.
    loader = build_train_loader(cfg, _boxes_mapper(boxes), in_memory=True)
    for name, records in datasets.items():
        boxes |= ranked_boxes(cfg, model, name, records, training=True)
    return loader


def build_ranked_test_loader(cfg: CfgNode, model: nn.Module, dataset_name: str) -> DataLoader:
    """Build the loader of a data set to evaluate, as `build_ranked_train_loader`."""
    records = DatasetCatalog.get(dataset_name)
    mapper = _boxes_mapper(ranked_boxes(cfg, model, dataset_name, records, training=False))
    return build_detection_test_loader(records, mapper=mapper, batch_size=_HEAD_BATCH)


def _boxes_mapper(boxes: Mapping[str, RankedBoxes]) -> Callable[[dict], dict]:
    """Map a dataset dict to the input of CTMaskNet without an image."""
    return lambda x: {**x, "ranked_boxes": boxes[x["file_name"]]}


def ranked_boxes(
    cfg: CfgNode, model: nn.Module, name: str, records: list[dict], training: bool
) -> dict[str, RankedBoxes]:
    """Read the ranked boxes of the data set `name` from their file, or compute and write them.

    Returns file_name -> `RankedBoxes.distinct` of the image in float32, on the CPU.
    In `training` images are resized as there, else as in evaluation. Each process computes its
    share; the first one reads and writes. A FileNotFoundError or ValueError, or a NotFiniteError
    for NaN and infinity, names its image.
    """
    files = [record["file_name"] for record in records]
    found = None
    if comm.is_main_process():
        folder = cfg.DATALOADER.RANKED_BOXES_FOLDER or Path(cfg.OUTPUT_DIR) / "ranked_boxes"
        key = key_of_rows(cfg, model, files, training)
        path = Path(folder) / f"{name}_{key[:16]}.npz"
        found = _read_or_say_why_not(path, key)
    found = comm.all_gather(found)[0]
    if found is None:
        shares = comm.all_gather(_compute(cfg, model, name, records, training))
        boxes = {file: own for share in shares for file, own in share.items()}
        found = [boxes[file] for file in files]
        if comm.is_main_process():
            write_boxes(path, key, found)
    return dict(zip(files, found, strict=True))


def _read_or_say_why_not(path: Path, key: str) -> list[RankedBoxes] | None:
    try:
        boxes = read_boxes(path, key)
    except FileNotFoundError:
        logger.info("%s: not there yet, computing ranked boxes", path)
    except (OSError, ValueError) as error:
        logger.warning("%s: %s; computing ranked boxes anew", path, error)
    else:
        logger.info("%s: read the ranked boxes of %d images", path, len(boxes))
        return boxes
    return None


def _compute(
    cfg: CfgNode, model: nn.Module, name: str, records: list[dict], training: bool
) -> dict[str, RankedBoxes]:
    """Compute this process's share of a data set."""
    loader = build_detection_test_loader(
        records,
        mapper=SliceMapper(cfg, is_train=training),
        # The stock model pads a batch's images to one size, which changes their boxes.
        batch_size=_NETWORK_BATCH if cfg.MODEL.FAST else 1,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    loader.worker_init_fn = leave_interrupts
    hidden = None if comm.is_main_process() else True  # None: shown on a terminal
    boxes = {}
    with inference_context(model), torch.no_grad():
        for batch in tqdm(loader, f"ranked boxes of {name}", unit="batch", disable=hidden):
            for image, answer in zip(batch, model(batch), strict=True):
                boxes[image["file_name"]] = answer["ranked_boxes"].distinct().map(_on_cpu)
    return boxes


def _on_cpu(x: torch.Tensor) -> torch.Tensor:
    return (x.float() if x.is_floating_point() else x).cpu()
