"""How long a test set takes from PNG files to classes, and how much of it is waiting for files."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from tqdm import tqdm

from ctmasknet.data.mapper import SliceMapper
from ctmasknet.engine import Trainer
from ctmasknet.modeling import is_classifier
from ctmasknet.provenance import machine

from .settings import Case, config_of
from .slice_files import slice_dataset
from .steps import build_ours

TEST_SLICES = 21191  # of COVIDx CT-1's test split
_DECODED = 200  # slices of which decoding alone is timed


class WaitingLoader:
    """A loader that adds up the time spent waiting for it, and shows its progress."""

    def __init__(self, loader: Any):
        """Wrap a loader with a length."""
        self._loader = loader
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[list[dict]]:
        batches = iter(self._loader)
        with tqdm(total=len(self), desc="classify", unit="batch", disable=None) as bar:
            while True:
                started = time.perf_counter()
                batch = next(batches, None)
                self.seconds += time.perf_counter() - started
                if batch is None:
                    return
                yield batch
                bar.update()


class _TimedTrainer(Trainer):
    """Evaluates as every run does, and keeps the loader."""

    loader: WaitingLoader

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> WaitingLoader:
        cls.loader = WaitingLoader(super().build_test_loader(cfg, dataset_name))
        return cls.loader


def measure_throughput(
    case: Case, precision: str, slices: int, folder: Path | None = None
) -> dict[str, Any]:
    """Classify slices from disk by the path that an evaluation takes.

    Args:
        case: config, batch, threads, device and overrides; the images have 512 x 512 pixels.
        precision: of the network.
        slices: number of files.
        folder: see `slice_dataset`.

    Returns:
        Settings; "seconds" in all, "waiting_seconds" for the loader, "decode_seconds" of CPU time
        for one slice alone, "slices_per_second" and "bytes_per_slice".

    Raises:
        ValueError: not a CT-Mask-Net, or no slice.
    """
    if slices < 1:
        raise ValueError(f"--slices is {slices}; it must be 1 or more")
    cfg = config_of(case, precision).clone()  # before files are written
    if not is_classifier(cfg):
        raise ValueError(f"{case.config_file}: throughput classifies; give it a CT-Mask-Net")
    cfg.defrost()
    torch.set_num_threads(case.threads)
    with slice_dataset(slices, folder) as (dataset, scratch):
        cfg.TEST.IMS_PER_BATCH, cfg.OUTPUT_DIR = case.batch, str(scratch)
        records = DatasetCatalog.get(dataset)
        decode = _decode_seconds(cfg, records[:_DECODED])
        torch.manual_seed(0)
        model = build_ours(cfg, case.weights)
        logging.getLogger("detectron2").setLevel(logging.WARNING)  # a line every few batches
        started = time.perf_counter()
        _TimedTrainer.evaluate(cfg, model, [dataset])
        seconds = time.perf_counter() - started
        size = sum(Path(record["file_name"]).stat().st_size for record in records) / slices
    return {
        "case": case,
        "precision": precision,
        "workers": cfg.DATALOADER.NUM_WORKERS,
        "slices": slices,
        "bytes_per_slice": size,
        "seconds": seconds,
        "slices_per_second": slices / seconds,
        "waiting_seconds": _TimedTrainer.loader.seconds,
        "decode_seconds": decode,
        "cores": machine()["cores"],
    }


def _decode_seconds(cfg: CfgNode, records: list[dict]) -> float:
    """CPU time of one process for a slice, from its file to the network's input."""
    mapper = SliceMapper(cfg, is_train=False)
    started = time.process_time()
    for record in records:
        mapper(record)
    return (time.process_time() - started) / len(records)


def describe_throughput(found: dict[str, Any]) -> str:
    """The result in words."""
    waited = found["waiting_seconds"] / found["seconds"]
    decoding = found["decode_seconds"] * found["slices"]
    share = decoding / (found["seconds"] * found["cores"])
    return (
        f"{found['slices']} slices of {found['bytes_per_slice'] / 1000:.0f} kB, "
        f"{found['case'].text}, {found['precision']}, {found['workers']} loader processes\n"
        f"{found['seconds']:.1f} s in all: {found['slices_per_second']:.1f} slices/s\n"
        f"the network waited for the loader {found['waiting_seconds']:.1f} s ({waited:.1%}), its "
        f"first batch included; the rest, {1 - waited:.1%}, is the network and the metrics\n"
        f"decoding alone takes {1000 * found['decode_seconds']:.1f} ms of CPU time a slice: "
        f"{decoding:.1f} s, {share:.1%} of what {found['cores']} cores have"
    )
