"""`ctmasknet demo`: on phantoms lesions are segmented, slices classified, numbers and pictures."""

import argparse
import contextlib
import logging
import os
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from ..command_line import check_pairs, new_subparser, take_words
from ..data.builtin import datasets_root
from ..data.classes import IMAGE_CLASSES, SPLITS
from ..data.images import read_slice
from ..data.phantom import write_phantom
from ..data.registration import register_paths
from ..engine import ProgressTrainer, load_config, set_up
from ..engine.reports import prediction_folder
from ..engine.run_lock import run_lock
from ..evaluation.histogram_baseline import histogram_accuracy
from ..evaluation.metric_names import metric_suffix
from ..evaluation.results import RESULTS, read_results, write_json
from ..evaluation.text import confusion_table
from ..extras import MissingExtraError, require
from ..inference import Predictor
from ..inference.model_spec import DEMO_CLASSIFIER, DEMO_LESION
from ..report.dataset_slices import true_instances
from ..report.overlay import draw_instances
from ..report.panels import save_panels
from ..shipped_models import model_names
from ..wording import NOTICE
from .results import describe_result, read_result

_DESCRIPTION = f"""Train, evaluate and look at both models on drawn phantoms. {NOTICE}

Phantoms, lesion model, CT-Mask-Net, numbers and pictures: 5 minutes on two CPU cores with bfloat16,
about 15 without. The pictures and summary.json land in the output folder. KEY VALUE pairs override
the configs of both trainings.

  ctmasknet demo
  ctmasknet predict datasets/phantom/image/P0005 --as-scan --model demo --output results
"""
_FULL, _QUICK = Path("output/demo"), Path("output/demo_quick")
_QUICK_OPTS = (
    *("INPUT.MIN_SIZE_TRAIN", (128,), "INPUT.MIN_SIZE_TEST", 128, "DATALOADER.NUM_WORKERS", 0),
    *("SOLVER.IMS_PER_BATCH", 2, "SOLVER.MAX_ITER", 10, "TEST.EVAL_PERIOD", 10),
    *("TEST.BOOTSTRAP_RESAMPLES", 100),
)
_SHIPPED = "medseg"  # trained on real slices; the last stage is left out where it is not there
_MEANINGLESS = "A quick run only shows that everything runs: its numbers mean nothing."


def add_demo(commands: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(commands, "demo", _DESCRIPTION, run_demo)
    take_words(parser, "[--output DIR] [--quick] [KEY VALUE ...]")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"folder for models, pictures and numbers (default: {_FULL}; with --quick {_QUICK})",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a minute or two with few phantoms and steps, to see that everything runs; its "
        "numbers mean nothing",
    )


def run_demo(args: argparse.Namespace) -> None:
    """Run `ctmasknet demo`; raises a FileNotFoundError or ValueError where it cannot go on."""
    check_pairs(args.words)
    Demo(args.output or (_QUICK if args.quick else _FULL), args.words, args.quick).run()


class Demo:
    """The stages of the demo; everything goes to a folder."""

    def __init__(self, output: Path, opts: Sequence[Any] = (), quick: bool = False):
        """`opts` are config overrides (KEY VALUE ...) of the trainings.

        `quick` draws few phantoms, in the output folder, and trains for a few steps.
        """
        self.output, self.quick = output, quick
        self.opts = (*(_QUICK_OPTS if quick else ()), *opts)
        self.phantoms = (output if quick else datasets_root()) / "phantom"
        self.notice = f"{_MEANINGLESS} {NOTICE}" if quick else NOTICE
        self.shipped = _SHIPPED in model_names()
        self.seconds: dict[str, float] = {}
        self._console = sys.stdout

    def say(self, text: str = "") -> None:
        """Print to the console, while stdout goes to the log."""
        print(text, file=self._console, flush=True)

    @contextlib.contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Announce and time a stage."""
        self.say(f"\n[{len(self.seconds) + 1}/{5 + self.shipped}] {title}")
        started = time.time()
        yield
        self.seconds[name] = round(time.time() - started, 1)
        self.say(f"      {self.seconds[name]:.0f} s")

    def train(self, stem: str, *opts: Any) -> tuple[CfgNode, dict[str, Any]]:
        """Train the config quick/<stem>; return it and the metrics of its test set."""
        kind = "lesion_merge_{}.json" if stem == DEMO_LESION else "{}.csv"
        for key, name in zip(("TRAIN", "VALIDATION", "TEST"), self._data(kind), strict=True):
            opts += (f"DATASETS.{key}", (name,))
        opts = ("OUTPUT_DIR", str(self.output / stem), *opts, *self.opts)
        self.say(f"      as: ctmasknet train quick/{stem}")
        cfg = load_config(f"quick/{stem}", opts)
        for name in ("detectron2", "fvcore", "ctmasknet"):
            logging.getLogger(name).handlers.clear()  # the second training has a log of its own
        with run_lock(cfg.OUTPUT_DIR):
            set_up(cfg)
            trainer = ProgressTrainer(cfg)
            trainer.resume_or_load(resume=False)
            return cfg, trainer.train()[cfg.DATASETS.TEST[0]]

    def run(self) -> dict[str, Any]:
        """Run all stages with stdout in the log; return the summary, also in summary.json."""
        self.output.mkdir(parents=True, exist_ok=True)
        # What PyTorch and Detectron2 warn each other about would break the progress bars.
        warnings.simplefilter("ignore")
        logging.getLogger("torch").setLevel(logging.ERROR)
        self.say(f"ctmasknet demo on phantoms. {self.notice} Details: {self.output / 'log.txt'}")
        with (self.output / "log.txt").open("w") as log, contextlib.redirect_stdout(log):
            return self._stages()

    def _stages(self) -> dict[str, Any]:
        with self.stage("phantoms", "draw phantom CT slices, patients apart"):
            self._phantoms()
        with self.stage("histogram", "baseline: logistic regression on intensity histograms"):
            train, _, test = map(DatasetCatalog.get, register_paths(self._data("{}.csv")))
            histogram = histogram_accuracy(train, test)
            self.say(f"      accuracy {histogram:.1%}: what can be told without lesions")
        with self.stage("lesion_model", "train the lesion model (Mask R-CNN, R18_T1) and test it"):
            lesion_cfg, lesion = self.train(DEMO_LESION)
            self._say_lesions(lesion)
        with self.stage("ct_mask_net", "train CT-Mask-Net (heads+BN) from it and test it"):
            weights = self.output / DEMO_LESION / "model_best.pth"
            cfg, image = self.train(DEMO_CLASSIFIER, "MODEL.WEIGHTS", str(weights))
            folder = prediction_folder(cfg, cfg.DATASETS.TEST[0])
            self._say_classes(read_results(folder / RESULTS))
        with self.stage("pictures", "draw three test slices"):
            shutil.copy(folder / "confusion_matrix.png", self.output)
            self._pictures(lesion_cfg, cfg)
        if self.shipped:
            title = f"predict a scan with {_SHIPPED}, a model in the package, trained on real CT"
            with self.stage("shipped_model", title):
                self._predict_scan(cfg)
        return self._summary(lesion, image["image"], histogram)

    def _phantoms(self) -> None:
        root = self.phantoms
        if root.exists():
            self.say(f"      {root} is there already and is used as it is")
        elif self.quick:
            self.say(write_phantom(root, patients=18, slices=2, size=128, split=(4, 1, 1)))
        else:
            self.say(write_phantom(root, size=256, threads=2))

    def _data(self, kind: str) -> list[str]:
        """Return the data sets of the splits, with {} in `kind`, which names their files."""
        if self.quick:
            return [str(self.phantoms / kind.format(split)) for split in SPLITS]
        return ["phantom_" + Path(kind.format(split)).stem for split in SPLITS]

    def _say_lesions(self, metrics: dict[str, Any]) -> None:
        bbox, segm, per_image = (metrics[task] for task in ("bbox", "segm", "per_image_ap"))
        self.say(
            f"      COCO AP50 / AP: boxes {bbox['AP50']:.1f} / {bbox['AP']:.1f}, "
            f"masks {segm['AP50']:.1f} / {segm['AP']:.1f} (percent)\n"
            f"      per-image mAP (the papers') {per_image['mAP']:.3f}; a silent detector gets "
            f"{per_image['silent_detector']:.3f}"
        )

    def _say_classes(self, results: dict[str, Any]) -> None:
        self.say("\n" + confusion_table(results["confusion"]["image"], results["classes"]))
        found = results["intervals"]["values"]["image"]["accuracy"]
        self.say(
            f"      accuracy {found['value']:.1%}; 95 % interval {found['low']:.1%} to "
            f"{found['high']:.1%} by patients\n      (slices taken as independent: "
            f"{found['naive_low']:.1%} to {found['naive_high']:.1%})"
        )

    def _pictures(self, lesion_cfg: CfgNode, cfg: CfgNode) -> None:
        predictor = Predictor(self.output / DEMO_CLASSIFIER, lesion_model=self.output / DEMO_LESION)
        truth = {x["file_name"]: x for x in DatasetCatalog.get(lesion_cfg.DATASETS.TEST[0])}
        samples = DatasetCatalog.get(cfg.DATASETS.TEST[0])
        for label, name in enumerate(IMAGE_CLASSES):
            sample = next(x for x in samples if x["label"] == label)
            image = read_slice(sample["file_name"])
            record = truth[os.path.abspath(sample["file_name"])]
            (prediction,) = predictor.predict_slices([(image, sample["file_name"])])
            found = prediction.classification
            assert found is not None
            probs = ", ".join(
                f"{k} {v:.0%}" for k, v in zip(found.class_names, found.probabilities, strict=True)
            )
            names = prediction.lesion_classes
            true = true_instances(record, names)
            assert true is not None
            save_panels(
                self.output / f"slice_{metric_suffix(name)}.png",
                [
                    ("input", draw_instances(image, [], names)),
                    ("truth", draw_instances(image, true, names, labels=())),
                    ("lesion model", draw_instances(image, prediction.instances, names)),
                ],
                f"{name} phantom, CT-Mask-Net says {found.image_class} ({probs})",
            )

    def _predict_scan(self, cfg: CfgNode) -> None:
        """Predict a drawn scan by the command; nothing real that may be shipped shows whole lungs.

        Of pydicom's own CT files one shows lung: 85 mm around a vertebra, with the lungs' edges.
        """
        from ..__main__ import main

        try:
            require("ct")
            require("report")
        except MissingExtraError as error:
            self.say(f"      left out: {error}")
            return
        samples = DatasetCatalog.get(cfg.DATASETS.TEST[0])
        scan = Path(next(x["file_name"] for x in samples if x["label"] == len(IMAGE_CLASSES) - 1))
        scan, output = scan.parent, self.output / _SHIPPED
        words = ["predict", str(scan), "--as-scan", "--model", _SHIPPED, "--output", str(output)]
        words.append("--keep-identifiers")  # of a drawing
        self.say(f"      as: ctmasknet {shlex.join(words)}")
        try:
            main([*words, "--overwrite"])
        except SystemExit as end:
            if end.code:
                raise ValueError(f"{scan}: not predicted; the reason is said above") from None
        result = read_result(output / scan.name)
        assert result is not None
        self.say(
            f"      {describe_result(result)}\n"
            "      It only shows how: the scan is drawn, and the model never saw drawings."
        )

    def _summary(self, lesion: dict, image: dict, histogram: float) -> dict[str, Any]:
        summary = {
            "lesion_segm_AP50": lesion["segm"]["AP50"] / 100,
            "lesion_per_image_mAP": lesion["per_image_ap"]["mAP"],
            "slice_accuracy": image["accuracy"],
            "histogram_accuracy": histogram,
            "sensitivity": {n: image[f"sensitivity_{metric_suffix(n)}"] for n in IMAGE_CLASSES},
            "seconds": self.seconds,
            "notice": self.notice,
        }
        path = self.output / "summary.json"
        write_json(path, summary)
        self.say(
            f"\nlesion masks AP50 {summary['lesion_segm_AP50']:.2f}, "
            f"slice accuracy {image['accuracy']:.1%} (histogram alone {histogram:.1%}), "
            f"{sum(self.seconds.values()) / 60:.1f} minutes"
            f"\npictures and {path.name} in {self.output}, all numbers and figures of a model in "
            f"its folder there, under inference. {self.notice}"
        )
        if self.output.resolve() == _FULL.resolve():
            self.say("Now try: ctmasknet predict SCAN_OR_IMAGES --model demo --output results")
        return summary
