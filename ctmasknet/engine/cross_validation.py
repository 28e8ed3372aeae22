"""Cross-validation of a lesion config: train on each fold's training part, predict what it lacks.

Files in the output folder: truth.json (all lesions), folds/ (COCO files of each fold), fold_0/ ...
(ordinary training runs), then results.json and row.md of the finished folds.
"""

import itertools
import json
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from tqdm import tqdm

from ..atomic_write import atomic_write
from ..data.coco_lesions import in_file, located_images, read_coco_lesions
from ..data.folds import merged_coco, split_folds
from ..data.lesion_masks import write_coco
from ..data.list_paths import allow_data_roots
from ..data.regroup import regroup
from ..evaluation.fold_report import CONVENTIONS, FoldStatistics, table_row
from ..evaluation.lesion_files import read_lesions
from ..evaluation.lesion_report import LesionReportSettings
from ..evaluation.lesion_set import LesionSet
from ..evaluation.results import DETECTIONS, RESULTS, read_results, write_results
from ..provenance import machine
from .finished_folds import is_finished, key_of, mark_finished, training_seconds
from .reports import prediction_folder
from .run_lock import run_lock
from .setup import check_files, load_config, set_up
from .trainer import ProgressTrainer

ROW = "row.md"


@dataclass(frozen=True)
class CrossValidation:
    """One config on one data set.

    Attributes:
        config_file: YAML of a lesion model.
        lesions: COCO file with all lesions, also the tiny ones.
        output: folder; finished folds in it are kept if they are of the same settings and data.
        folds: how many.
        seed: of the split; that of training is the config's SEED.
        opts: config overrides, KEY VALUE pairs.
        weights_of: output folder of another cross-validation with the same folds, whose models
            predict under this config; None trains.
        start_from: output folder of another cross-validation with the same folds, with whose
            weights the trainings begin; None begins with MODEL.WEIGHTS.
        lesion_free: COCO file of slices without lesions that all folds train on, too.
        lesion_free_check: COCO file of such slices that every fold's model predicts, for the choice
            of its threshold and the share that it calls lesion.
    """

    config_file: str
    lesions: Path
    output: Path
    folds: int = 5
    seed: int = 0
    opts: Sequence[str] = field(default_factory=tuple)
    weights_of: Path | None = None
    start_from: Path | None = None
    lesion_free: Path | None = None
    lesion_free_check: Path | None = None

    def run(self, only: Sequence[int] | None = None) -> dict[str, Any]:
        """Train the folds `only` (None: all) that are not finished, then collect all that are.

        Returns the content of results.json. Raises a ValueError for a fold that does not exist, or
        that was finished with other settings or data, and for files that share images or patients.
        """
        wanted = range(self.folds) if only is None else only
        for index in wanted:
            if index not in range(self.folds):
                raise ValueError(f"fold {index}: expected 0 to {self.folds - 1}")
        self._check_apart()
        self._write_parts()
        keys = {index: self._key(index) for index in range(self.folds)}
        for index, key in keys.items():
            self._finished(index, key)  # before hours of training
        with tqdm([*wanted], desc="folds", unit="fold") as bar:
            for index in bar:
                if not self._finished(index, keys[index]):
                    self._train(index, keys[index])
        return self._collect([i for i, key in keys.items() if self._finished(i, key)])

    def part(self, index: int, kind: str) -> Path:
        """Return the COCO file of a fold: "train", "test", or "pixels" (test, all lesions)."""
        return _part(self.output, index, kind)

    def config(self, index: int) -> CfgNode:
        """Return the config of a fold's training."""
        opts = [*self.opts, "OUTPUT_DIR", str(self.output / f"fold_{index}")]
        train = [self.part(index, "train"), self.lesion_free]
        test = [self.part(index, "test"), self.lesion_free_check]
        for key, files in (("TRAIN", train), ("VALIDATION", []), ("TEST", test)):
            opts += [f"DATASETS.{key}", str(tuple(str(path) for path in files if path))]
        if other := self.weights_of or self.start_from:
            opts += ["MODEL.WEIGHTS", str(other / f"fold_{index}" / "model_final.pth")]
        return load_config(self.config_file, [*opts, "TEST.BOOTSTRAP_RESAMPLES", "0"])

    def _check_apart(self) -> None:
        """Raise a ValueError if models would be judged on what they have trained on.

        So it does for slices with lesions that are given as lesion-free.
        """
        free = [x for x in (self.lesion_free, self.lesion_free_check) if x]
        for one, other in itertools.combinations([self.lesions, *free], 2):
            if shared := sorted(_origins(one) & _origins(other)):
                raise ValueError(
                    f"{other}: {shared[0]} is in {one}, too, but models must be judged on what "
                    "they have not seen: leave it out of one of the two"
                )
        for path in free:
            if lesions := read_coco_lesions(path).coco["annotations"]:
                raise ValueError(f"{path}: has {len(lesions)} lesions, expected slices without")

    def _write_parts(self) -> None:
        cfg = load_config(self.config_file, self.opts, datasets=False)
        coco = read_coco_lesions(self.lesions).coco
        coco["images"] = located_images(self.lesions.absolute(), coco)
        allow_data_roots([str(self.lesions.parent)])  # the folds' files lie elsewhere
        with in_file(self.lesions):
            truth = regroup(coco, cfg.INPUT.MASK_TYPE, 0)
            known = regroup(coco, cfg.INPUT.MASK_TYPE, cfg.INPUT.MIN_LESION_AREA)
        write_coco(truth, self.output / "truth.json")
        parts = split_folds(known, self.folds, self.seed)
        for index, (train, test) in enumerate(parts):
            held_out = {image["id"] for image in test["images"]}
            all_lesions = [x for x in truth["annotations"] if x["image_id"] in held_out]
            write_coco(train, self.part(index, "train"))
            write_coco(test, self.part(index, "test"))
            write_coco({**test, "annotations": all_lesions}, self.part(index, "pixels"))

    def _key(self, index: int) -> str:
        """SHA-256 of all that a fold's training depends on but code, machine and images."""
        content = [self.config(index).dump()]
        files = [self.part(index, kind) for kind in ("train", "test")]
        files += [x for x in (self.lesion_free, self.lesion_free_check) if x]
        content += [path.read_text() for path in files]
        return key_of(content)

    def _finished(self, index: int, key: str) -> bool:
        return is_finished(self.output / f"fold_{index}", key)

    def _train(self, index: int, key: str) -> None:
        cfg = self.config(index)
        with run_lock(cfg.OUTPUT_DIR):
            self._train_alone(index, key, cfg)

    def _train_alone(self, index: int, key: str, cfg: CfgNode) -> None:
        check_files(cfg)
        for name in ("detectron2", "fvcore", "ctmasknet"):
            logging.getLogger(name).handlers.clear()  # each fold has a log of its own
        set_up(cfg)
        if other := self.weights_of or self.start_from:
            self._check_folds_of(other, index)
        if self.weights_of:
            ProgressTrainer.evaluate_checkpoint(cfg)
        else:
            trainer = ProgressTrainer(cfg)
            trainer.resume_or_load(resume=True)
            trainer.train()
        seconds = read_results(Path(cfg.OUTPUT_DIR) / RESULTS)["seconds"]["training"] or 0
        mark_finished(Path(cfg.OUTPUT_DIR), key, seconds)

    def _check_folds_of(self, other: Path, index: int) -> None:
        """Raise a ValueError unless the other's model of this fold held out the same slices."""
        held_out = [
            {Path(x["file_name"]).name for x in json.loads(path.read_text())["images"]}
            for path in (self.part(index, "test"), _part(other, index, "test"))
        ]
        if held_out[0] != held_out[1]:
            raise ValueError(
                f"{other}: fold {index} held out other slices: its model has trained on some of "
                "those to be judged; take the same data, number of folds and seed of the split"
            )

    def _collect(self, finished: list[int]) -> dict[str, Any]:
        cfgs = [self.config(index) for index in finished]
        detections = [prediction_folder(c, c.DATASETS.TEST[0]) / DETECTIONS for c in cfgs]
        sets: dict[str, LesionSet] = {}
        ids: dict[int | str, int] = {}
        for kind in ("pixels", "test"):
            parts = [json.loads(self.part(index, kind).read_text()) for index in finished]
            ids |= {x["id"]: k for k, part in enumerate(parts) for x in part["images"]}
            path = self.output / f"held_out_{kind}.json"
            write_coco(merged_coco(parts), path)
            sets[kind] = read_lesions(path, detections, masks=True)
        fold_of = np.array([ids[image.image_id] for image in sets["pixels"].images])
        settings = LesionReportSettings.from_cfg(load_config(self.config_file, self.opts, False))
        free = [self._lesion_free_found(cfg) for cfg in cfgs] if self.lesion_free_check else []
        statistics = FoldStatistics(sets["pixels"], sets["test"], fold_of, settings, free)
        seconds = [training_seconds(Path(c.OUTPUT_DIR)) for c in cfgs]
        about = {
            "model": cfgs[0].MODEL.NAME,
            "config": self.config_file,
            "overrides": shlex.join(self.opts),
            "weights_of": str(self.weights_of) if self.weights_of else None,
            "start_from": str(self.start_from) if self.start_from else None,
            "lesions": str(self.lesions),
            "folds": self.folds,
            "finished": finished,
            "split_seed": self.seed,
            "training_seed": cfgs[0].SEED,
            "images": len(fold_of),
            "minutes": float(np.mean(seconds)) / 60,
            "machine": machine(),
            "thresholds": statistics.thresholds.tolist(),
            "threshold_from": statistics.threshold_from(finished),
            "conventions": CONVENTIONS,
            "suffixes": statistics.suffixes,
            "dice_present_by_threshold_for_diagnosis": statistics.by_threshold,
        }
        if self.lesion_free:
            about["lesion_free"] = str(self.lesion_free)
        if free:
            shares = statistics.called_lesion
            about["lesion_free_check"] = {
                "source": str(self.lesion_free_check),
                "images": len(free[0].images),
                "called_lesion": {"mean": float(shares.mean()), "folds": shares.tolist()},
            }
        write_results(self.output / RESULTS, statistics.values(), **about)
        results = read_results(self.output / RESULTS)
        with atomic_write(self.output / ROW) as partial:
            partial.write_text(table_row(results) + "\n")
        return results

    def _lesion_free_found(self, cfg: CfgNode) -> LesionSet:
        name = cfg.DATASETS.TEST[1]
        detections = prediction_folder(cfg, name) / DETECTIONS
        return read_lesions(MetadataCatalog.get(name).json_file, [detections], masks=True)


def _origins(path: Path) -> set[str]:
    """Return the images of a COCO file and their patients, or scans where these are unknown."""
    images = located_images(path, read_coco_lesions(path).coco)
    found = {f"image {Path(image['file_name']).resolve()}" for image in images}
    for image in images:
        known = (f"{key} {image[key]}" for key in ("patient", "scan") if image.get(key))
        found.update(itertools.islice(known, 1))
    return found


def _part(output: Path, index: int, kind: str) -> Path:
    # The folder's name makes names of data sets that several folders do not share.
    return output / "folds" / f"{output.resolve().name}_{index}_{kind}.json"
