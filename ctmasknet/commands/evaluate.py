"""`ctmasknet evaluate`: a model on a data set, or files of predictions without a model."""

import argparse
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..command_line import add_keep_paths, check_pairs, new_subparser, take_words
from ..engine.processes import run_processes
from ..inference.model_spec import DEMO, demo_folders, find_model
from ..shipped_models import names_in_words
from ..wording import NOTICE
from .evaluate_files import PREDICTION_OPTIONS, add_prediction_options, evaluate_files
from .train import add_processes, train

_DESCRIPTION = f"""Evaluate a model on a data set, or any system's predictions in files. {NOTICE}

A data set is a COCO file of lesions (.json), an image list (.csv) or a registered name.
DIR/inference/<data set> gets results.json with all metrics and intervals, figures and the
predictions. KEY VALUE pairs override the model's config.

  ctmasknet evaluate --model lesions --dataset lesions_test.json --output results
  ctmasknet evaluate --model classes --dataset slices_test.csv --validation slices_val.csv \\
      --output results

With --predictions nothing is predicted, and DIR itself gets the report. A CSV of slices has the
columns file_name,patient,scan,label,logit_0,logit_1,... (prob_0,prob_1,... for probabilities);
detections are COCO results, or a COCO file with scores, whose classes are matched by name; masks
are RLE, and --dataset is their ground truth.

  ctmasknet evaluate --predictions test.csv --validation val.csv --output results
  ctmasknet evaluate --predictions detections.json --dataset truth.json --output results
"""


def add_evaluate(commands: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(commands, "evaluate", _DESCRIPTION, run_evaluate)
    take_words(
        parser, "(--model MODEL | --predictions FILE ...) --output DIR [options] [KEY VALUE ...]"
    )
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--model",
        help="a training run's folder, a model file (.safetensors), the name of a model in the "
        f"package ({names_in_words()}), demo, or a config with --weights; a path here wins over a "
        "name",
    )
    which.add_argument(
        "--predictions",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="a .csv of slices, or .json files of detections, which are taken together (as of the "
        "folds of a cross-validation)",
    )
    add("--weights", metavar="FILE", help="checkpoint (.pth) of a config")
    add("--dataset", metavar="FILE", help="what to evaluate on; of detections their ground truth")
    add(
        "--validation",
        metavar="FILE",
        help="data, or predictions, of slices on which temperature, rule of scans and thresholds "
        "are fixed",
    )
    add("--output", required=True, type=Path, metavar="DIR", help="made if it is missing")
    add_keep_paths(parser)
    add_prediction_options(parser)
    add_processes(parser)


def run_evaluate(args: argparse.Namespace) -> int:
    """Run `ctmasknet evaluate`; raises a FileNotFoundError or ValueError for what is unusable."""
    if args.predictions:
        if args.weights or args.words:
            raise ValueError(
                f"{args.weights or args.words[0]}: goes with --model, not --predictions"
            )
        print(evaluate_files(args))
        print(f"results.json and figures are in {args.output}")
        return 0
    check_pairs(args.words)
    args.config_file, args.opts = _config(args)
    args.eval_only, args.resume = True, False
    run_processes(train, args)
    print(f"results.json is in {args.output}, predictions and figures in inference there. {NOTICE}")
    return 0


def _config(args: argparse.Namespace) -> tuple[str, list[Any]]:
    """Return the model's config file, and overrides that put the data and the output into it."""
    for option, key in PREDICTION_OPTIONS.items():
        if getattr(args, option) is not None:
            instead = f"; with --model give {key} VALUE" if key else ""
            raise ValueError(f"--{option.replace('_', '-')}: goes with --predictions{instead}")
    if not args.dataset:
        raise ValueError("--dataset is missing: name the data set to evaluate the model on")
    if args.output.exists() and not args.output.is_dir():
        raise ValueError(f"{args.output}: is a file, expected a folder for the results")
    if next(args.output.glob("*.pth"), None):
        raise ValueError(f"{args.output}: holds the models of a run; name another --output")
    lesions = _has_lesions(args.dataset)
    if lesions and args.validation:
        raise ValueError("--validation: is for image classes; nothing of lesions is fixed on it")
    model = demo_folders()[lesions] if args.model == DEMO else args.model
    spec = find_model(model, args.weights)
    return spec.config, [
        *("DATASETS.TRAIN", ()),
        *("DATASETS.VALIDATION", (args.validation,) if args.validation else ()),
        *("DATASETS.TEST", (args.dataset,)),
        *("MODEL.WEIGHTS", repr(spec.weights)),
        *("OUTPUT_DIR", repr(str(args.output))),
        *args.words,
    ]


def _has_lesions(dataset: str) -> bool:
    if dataset in DatasetCatalog:
        return MetadataCatalog.get(dataset).evaluator_type == "coco"
    return dataset.lower().endswith(".json")
