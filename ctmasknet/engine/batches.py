"""The order of training images and the random numbers of each, which follow from a seed alone.

A run can so go on at any batch as if it had never stopped, with any number of loader workers.
"""

import hashlib
import itertools
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import (
    DatasetCatalog,
    MetadataCatalog,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset, Sampler

from ..data.images import check_slice
from ..modeling import is_one_shot
from .sampling import AlternatingSampler, lesion_free_sampler

Place = tuple[int, ...]  # in the order: seed, process, number of the image in it
# What Detectron2's samplers draw when they are made; all else follows from it.
_DRAWN = ("_seed", "_indexes_subset")


def seed_generators(*parts: int) -> int:
    """Seed Python, NumPy and PyTorch's CPU from whole numbers; return the seed."""
    text = " ".join(map(str, parts)).encode()
    seed = int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")
    random.seed(seed)
    np.random.seed(seed)
    # Not torch.manual_seed: it asks for GPUs, which takes longer than a step of an image head.
    torch.default_generator.manual_seed(seed)
    return seed


class TrainingBatches(Sampler[list[tuple[int, Place]]]):
    """An endless order of batches that can begin at any of them.

    Gives lists of (index of the image, its place in the order).

    Attributes:
        start: number of the first batch that is given.
    """

    def __init__(self, sampler: Sampler, batch_size: int, group: Callable[[int], Any]):
        """Cut the order of one of Detectron2's training samplers into batches.

        Args:
            sampler: gives this process's indices without end.
            batch_size: images of this process.
            group: of an index; images of a batch are of one group.
        """
        self._sampler, self._batch_size, self._group = sampler, batch_size, group
        self.start = 0

    def __iter__(self) -> Iterator[list[tuple[int, Place]]]:
        return itertools.islice(self._batches(), self.start, None)

    def _batches(self) -> Iterator[list[tuple[int, Place]]]:
        seed, process = vars(self._sampler)["_seed"], comm.get_rank()
        waiting: dict[Any, list[tuple[int, Place]]] = {}
        for number, index in enumerate(self._sampler):
            batch = waiting.setdefault(self._group(index), [])
            batch.append((index, (seed, process, number)))
            if len(batch) == self._batch_size:
                yield batch.copy()
                batch.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return what was drawn for the order, without `start`."""
        return {name: x for name, x in vars(self._sampler).items() if name in _DRAWN}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the order of another run, before this one has begun."""
        vars(self._sampler).update(state)


class _Images(Dataset):
    """A data set by (index, place); `draws` tells whether an image takes random numbers."""

    def __init__(self, mapped: Dataset, draws: bool):
        self._mapped, self._draws = mapped, draws

    def __getitem__(self, item: tuple[int, Place]) -> dict:
        index, place = item
        if self._draws:
            seed_generators(*place)
        return self._mapped[index]


def build_train_loader(
    cfg: CfgNode, mapper: Callable[[dict], dict], in_memory: bool = False
) -> DataLoader:
    """Build the loader of DATASETS.TRAIN with Detectron2's samplers, endless and repeatable.

    Args:
        cfg: reads DATALOADER and SOLVER.IMS_PER_BATCH.
        mapper: dataset dict -> model input.
        in_memory: the mapper only looks up what is in memory: it draws no random numbers, needs no
            workers, and its results may share a batch whatever their shape.

    Returns:
        Lists of model inputs; the loader's `batch_sampler` is a TrainingBatches.

    Raises:
        AssertionError: as Detectron2 says that nothing is left to train on.
        ValueError: one-shot training with batches of one slice, or a list without labels.
    """
    keys, drawn, one_shot = cfg.DATALOADER, {}, is_one_shot(cfg)
    if one_shot:
        records, drawn["sampler"] = _of_both_kinds(cfg)
    else:
        records = get_detection_dataset_dicts(cfg.DATASETS.TRAIN, keys.FILTER_EMPTY_ANNOTATIONS)
    if keys.LESION_FREE_SHARE:
        drawn["sampler"] = lesion_free_sampler(records, keys.LESION_FREE_SHARE)
    stock = build_detection_train_loader(
        cfg, dataset=records, mapper=mapper, num_workers=0, aspect_ratio_grouping=False, **drawn
    ).dataset
    grouped = keys.ASPECT_RATIO_GROUPING and not in_memory and not one_shot
    batches = TrainingBatches(
        stock.sampler,
        cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size(),
        _by_aspect(records) if grouped else lambda index: None,
    )
    return DataLoader(
        _Images(stock.dataset, draws=not in_memory),
        batch_sampler=batches,
        num_workers=0 if in_memory else keys.NUM_WORKERS,
        collate_fn=list,
        worker_init_fn=leave_interrupts,
        generator=torch.Generator(),  # or the loader would take a number from the model's
    )


def _of_both_kinds(cfg: CfgNode) -> tuple[list[dict], AlternatingSampler]:
    """Return slices with lesions, then those with labels, and a sampler that takes turns."""
    if cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size() < 2:
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH is {cfg.SOLVER.IMS_PER_BATCH}: one-shot training wants 2 or "
            "more slices in each process, for batches with both kinds"
        )
    by_kind: dict[str, list[str]] = {"coco": [], "image": []}
    for name in cfg.DATASETS.TRAIN:
        by_kind[MetadataCatalog.get(name).evaluator_type].append(name)
    lesions = get_detection_dataset_dicts(by_kind["coco"], cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS)
    labelled = [x for name in by_kind["image"] for x in DatasetCatalog.get(name)]
    missing = next((x["file_name"] for x in labelled if "label" not in x), None)
    if missing:
        raise ValueError(f"DATASETS.TRAIN: {missing} has no label")
    return [*lesions, *labelled], AlternatingSampler(len(lesions), len(labelled))


def leave_interrupts(worker: int) -> None:
    """Leave Ctrl-C to the process that has started this one, and ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _by_aspect(records: Sequence[dict]) -> Callable[[int], bool]:
    """Return whether the image of an index is wider than high, as Detectron2 groups them."""
    # Of each record no more than that is kept: with their masks they are large.
    known = [x["width"] > x["height"] if "width" in x else x["file_name"] for x in records]

    @cache
    def is_wide(index: int) -> bool:
        if isinstance(known[index], bool):
            return known[index]
        height, width = check_slice(known[index])
        return width > height

    return is_wide
