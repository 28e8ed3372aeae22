"""`ctmasknet train`: a lesion model, CT-Mask-Net or baseline, by the code of tools/train_net.py."""

import argparse
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from detectron2.utils import comm

from ..command_line import check_pairs, new_subparser, take_words
from ..data.list_paths import add_data_root
from ..engine import Trainer, config_from_args
from ..engine.processes import run_processes
from ..engine.run_lock import run_lock
from ..engine.setup import output_folder
from ..inference.model_spec import run_weights
from ..shipped_models import find_weights, is_model_file, names_in_words
from ..wording import NOTICE
from .fit_classes import fit_classes

logger = logging.getLogger(__name__)

_DESCRIPTION = f"""Train a lesion model, a CT-Mask-Net that starts from one, or a baseline. {NOTICE}

CONFIG is a shipped config (`ctmasknet info` lists them; the quick ones take minutes on a CPU) or a
YAML file. Lesion models train on COCO files (.json), CT-Mask-Nets and baselines on image lists
(.csv: file,label,patient,scan). The checkpoint that is best on --validation is evaluated on --test.
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
    add_data_root(parser)
    add = parser.add_argument_group("run").add_argument
    add(
        "--weights",
        metavar="FILE",
        help="to start from: a checkpoint (.pth), a training run's folder, a model file "
        f"(.safetensors) or the name of a model in the package ({names_in_words()}); a path here "
        "wins over a name",
    )
    add("--output", metavar="DIR", help="folder for the results (default: output/<config's name>)")
    add("--resume", action="store_true", help="go on from the last checkpoint in --output")
    parser.set_defaults(eval_only=False)  # one of Detectron2's arguments
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
    if not words:
        raise ValueError("no CONFIG: name a shipped config, as quick/lesion_R18_T1, or a file")
    args.config_file = words.pop(0)
    if is_model_file(args.config_file):
        raise ValueError(
            f"{args.config_file}: a model, no CONFIG; name a config, and start from it by --weights"
        )
    check_pairs(words, repeated="--train, --validation or --test")
    opts = _overrides(args)
    weights = _checkpoint(args.weights) if args.weights else None
    classes, args.notes = fit_classes(args, words, weights)
    args.opts = [*opts, *classes, *words]
    try:
        run_processes(train, args)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; --resume goes on from the last checkpoint") from None
    return 0


def train(args: argparse.Namespace) -> Any:
    """Train, or with args.eval_only evaluate, and return the metrics; called in each process.

    `args` are those of Detectron2's `default_argument_parser`; `notes`, if any, go to the log.
    """
    with run_lock(output_folder(args)) if comm.is_main_process() else nullcontext():
        cfg = config_from_args(args)
        for note in getattr(args, "notes", ()):
            logger.info(note)
        if args.eval_only:
            return Trainer.evaluate_checkpoint(cfg, getattr(args, "keep_identifiers", True))
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=args.resume)
        return trainer.train()


def _overrides(args: argparse.Namespace) -> list[Any]:
    """Return what the options mean as KEY VALUE pairs."""
    opts: list[Any] = []
    if args.train or args.validation or args.test:
        if not args.train:
            raise ValueError(
                "--train is missing: with --validation or --test name the training data, too"
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
    found = find_weights(path)
    if not found.is_dir():
        return found
    weights = run_weights(found)
    if weights is None:
        raise FileNotFoundError(f"{path}: holds no checkpoint of a training run (--weights)")
    return weights
