"""`ctmasknet train`: a lesion model or a CT-Mask-Net; tools/train_net.py runs the same code."""

import argparse
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoint import read_checkpoint
from ..command_line import new_subparser, take_words
from ..data.image_lists import find_classes
from ..data.mask_rule import PAPERS_CLASSES, MaskRule
from ..data.registration import category_names, reading_coco
from ..engine import Trainer, config_from_args
from ..engine.processes import run_processes
from ..inference.model_spec import run_weights
from ..wording import NOTICE

logger = logging.getLogger(__name__)

_DESCRIPTION = f"""Train a lesion model, or a CT-Mask-Net that starts from one. {NOTICE}

CONFIG is a shipped config (`ctmasknet info` lists them; the quick ones take minutes on a CPU) or a
YAML file. Lesion models train on COCO files (.json), CT-Mask-Nets on image lists (.csv:
file,label,patient,scan). The checkpoint that is best on --validation is evaluated on --test.
KEY VALUE pairs override the config, in any number.

  ctmasknet train quick/lesion_R18_T1 --train lesions_train.json --validation lesions_val.json \\
      --test lesions_test.json --output lesions
  ctmasknet train quick/ctmasknet_R18_T1 --weights lesions --train slices_train.csv \\
      --validation slices_val.csv --test slices_test.csv --output classes SOLVER.MAX_ITER 900
"""


def add_train(commands: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(commands, "train", _DESCRIPTION, run_train)
    take_words(parser, "CONFIG --train FILE [--validation FILE] [options] [KEY VALUE ...]")
    add = parser.add_argument_group(
        "data sets: paths or registered names, each again for several; with any of them those of "
        "the config are left out"
    ).add_argument
    for part, text in (
        ("train", "to learn from"),
        ("validation", "to choose the best checkpoint on"),
        ("test", "to report on, once, at the end"),
    ):
        add(f"--{part}", action="append", default=[], metavar="FILE", help=text)
    add = parser.add_argument_group("run").add_argument
    add("--weights", metavar="FILE", help="checkpoint to start from, or a training run's folder")
    add("--output", metavar="DIR", help="folder for the results (default: output/<config's name>)")
    add("--resume", action="store_true", help="go on from the last checkpoint in --output")
    add("--eval-only", action="store_true", help="evaluate --weights on --test, without training")
    add("--config-file", metavar="CONFIG", help="CONFIG, as Detectron2's scripts call it")
    add_processes(parser)


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Add Detectron2's arguments for several processes."""
    add = parser.add_argument_group("processes").add_argument
    add(
        "--num-gpus",
        type=int,
        default=1,
        metavar="N",
        help="processes on this machine; without GPUs they share its cores (default: 1)",
    )
    add("--num-machines", type=int, default=1, metavar="N", help="default: 1")
    add("--machine-rank", type=int, default=0, metavar="N", help="of this machine (default: 0)")
    add("--dist-url", default="auto", help="of the first machine: tcp://HOST:PORT, a free port")


def run_train(args: argparse.Namespace) -> int:
    """Run `ctmasknet train`; raises a FileNotFoundError or ValueError where it cannot go on."""
    words = list(args.words)
    if not args.config_file:
        if not words:
            raise ValueError("no CONFIG: name a shipped config, as quick/lesion_R18_T1, or a file")
        args.config_file = words.pop(0)
    classes, args.notes = _fit_classes(args, dict(zip(words[::2], words[1::2], strict=False)))
    args.opts = [*_overrides(args), *classes, *words]
    run_processes(train, args)
    return 0


def train(args: argparse.Namespace) -> Any:
    """Train, or with args.eval_only evaluate, and return the metrics; called in each process.

    `args` are those of Detectron2's `default_argument_parser`; `notes`, if any, go to the log.
    """
    cfg = config_from_args(args)
    for note in getattr(args, "notes", ()):
        logger.info(note)
    if args.eval_only:
        return Trainer.evaluate_checkpoint(cfg)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


def _overrides(args: argparse.Namespace) -> list[Any]:
    """Return what the options mean as KEY VALUE pairs."""
    opts: list[Any] = []
    if args.train or args.validation or args.test:
        if not (args.test if args.eval_only else args.train):
            raise ValueError(
                "--test is missing: --eval-only wants data to evaluate on"
                if args.eval_only
                else "--train is missing: with --validation or --test name the training data, too"
            )
        for key in ("TRAIN", "VALIDATION", "TEST"):
            opts += [f"DATASETS.{key}", tuple(getattr(args, key.lower()))]
    if args.weights:
        opts += ["MODEL.WEIGHTS", repr(str(_checkpoint(args.weights)))]
    if args.output:
        if Path(args.output).is_file():
            raise ValueError(f"{args.output}: is a file, expected a folder for the results")
        opts += ["OUTPUT_DIR", repr(args.output)]
    return opts


def _checkpoint(path: str) -> Path:
    if not Path(path).is_dir():
        return Path(path)
    weights = run_weights(Path(path))
    if weights is None:
        raise FileNotFoundError(f"{path}: holds no checkpoint of a training run (--weights)")
    return weights


def _fit_classes(args: argparse.Namespace, given: Mapping[str, str]) -> tuple[list[Any], list[str]]:
    """Return the numbers of classes in the files, as overrides and in words for the log.

    Keys that the user has `given` stay as they are.
    """
    files = [Path(name) for name in (*args.train, *args.validation, *args.test)]
    lists = [path for path in files if path.suffix.lower() == ".csv"]
    lesions = [path for path in files if path.suffix.lower() == ".json" and path.is_file()]
    fitted: dict[str, Any] = {}
    notes = []
    if lists and "DATASETS.IMAGE_CLASSES" not in given:
        names = find_classes(lists)
        fitted["MODEL.IMAGE_HEAD.NUM_CLASSES"] = len(names)
        notes.append(f"image classes of the data: {', '.join(names)}")
    if lists and args.weights:
        if count := _lesion_classes_in(_checkpoint(args.weights)):
            fitted["MODEL.ROI_HEADS.NUM_CLASSES"] = count
            notes.append(f"lesion classes of {args.weights}: {count}")
    elif lesions and not lists:
        with reading_coco(lesions[0]):
            found = category_names(json.loads(lesions[0].read_text(encoding="utf-8")))
            # Lesions of the papers' names are read as the config says, others as they are.
            rule = given.get("INPUT.MASK_TYPE", None if set(found) <= PAPERS_CLASSES else "")
            if rule is not None:
                names = tuple(MaskRule.parse(rule).apply(found))
                fitted |= {"MODEL.ROI_HEADS.NUM_CLASSES": len(names), "INPUT.MASK_TYPE": rule}
                notes.append(f"lesion classes of {lesions[0]}: {', '.join(names)}")
    fitted = {key: value for key, value in fitted.items() if key not in given}
    if fitted:
        pairs = ", ".join(f"{key} {value!r}" for key, value in fitted.items())
        notes.append(f"so unless they are given: {pairs}")
    return [x for pair in fitted.items() for x in pair], notes


def _lesion_classes_in(weights: Path) -> int:
    """Return how many lesion classes a checkpoint tells apart; 0 for a backbone alone."""
    scores = read_checkpoint(weights).weights.get("roi_heads.box_predictor.cls_score.weight")
    return 0 if scores is None else len(scores) - 1  # the last one is the background
