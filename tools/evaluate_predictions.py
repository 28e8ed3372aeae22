#!/usr/bin/env python
"""Compute every number and figure from files of predictions; no model is needed.

    evaluate_predictions.py classification predictions.csv --output DIR
    evaluate_predictions.py classification test.csv --validation val.csv --output DIR
    evaluate_predictions.py lesions truth.json detections.json --output DIR

Predictions may come from any system. A CSV of slices has the columns
file_name,patient,scan,label,logit_0,logit_1,... (probabilities: give their logarithms); lesions and
detections are COCO files, with masks as RLE. What a run of train_net.py leaves in
OUTPUT_DIR/inference/DATASET is such a set of files. Into DIR go results.json, figures and the
predictions; docs/evaluation.md says what each number means.

Research use only, not for diagnosis.
"""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.evaluation.image_report import ImageReportSettings, report_images
from ctmasknet.evaluation.lesion_files import read_lesions
from ctmasknet.evaluation.lesion_report import LesionReportSettings, report_lesions
from ctmasknet.evaluation.prediction_table import PREDICTIONS, read_predictions, write_predictions
from ctmasknet.evaluation.results import check_output
from ctmasknet.evaluation.text import describe
from ctmasknet.provenance import machine

IMAGES, LESIONS = ImageReportSettings(), LesionReportSettings()


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    images = kinds.add_parser("classification", help="image classes, from a CSV")
    add_classification(images)
    lesions = kinds.add_parser("lesions", help="lesion instances, from COCO files")
    add_lesions(lesions)
    for kind in (images, lesions):
        add = functools.partial(add_with_default, kind)
        kind.add_argument(
            "--output", type=Path, required=True, metavar="DIR", help="made if it is missing"
        )
        kind.add_argument("--name", metavar="MODEL", help="of the model, for tables of results")
        add("--resamples", IMAGES.resamples, "N", "of the bootstrap; 0: no intervals")
        add("--seed", IMAGES.seed, "N", "of the bootstrap")
    return parser.parse_args()


def add_classification(parser: argparse.ArgumentParser) -> None:
    add = functools.partial(add_with_default, parser)
    parser.add_argument("predictions", type=Path, metavar="FILE.csv")
    parser.add_argument(
        "--validation",
        type=Path,
        metavar="VAL.csv",
        help="predictions on validation data, on which temperature, rule and operating points are "
        "fixed",
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="CLASS",
        help="names in the order of the logits (default: the papers' three, or class_0 ...)",
    )
    parser.add_argument(
        "--rule",
        help="how slices become one answer for a scan: mean, max, top_K_mean or share_above_T "
        "(default: the best on validation, or mean)",
    )
    add("--sensitivity", IMAGES.sensitivity, "S", "of the operating points")


def add_lesions(parser: argparse.ArgumentParser) -> None:
    add = functools.partial(add_with_default, parser)
    parser.add_argument("truth", type=Path, metavar="GROUND_TRUTH.json")
    parser.add_argument(
        "detections",
        type=Path,
        nargs="+",
        metavar="DETECTIONS.json",
        help="COCO results, or a COCO file with scores, whose classes are matched by name; several "
        "(as of the folds of a cross-validation) are taken together",
    )
    add("--score-thresh", LESIONS.score_thresh, "T", "per-image AP: detections score above it")
    add("--min-area", LESIONS.min_area, "PX", "per-image AP: larger lesions only")
    add("--pixel-score-thresh", LESIONS.pixel_score_thresh, "T", "pixels: scores of at least it")
    add("--froc-iou", LESIONS.froc_iou, "IOU", "FROC: a lesion is found at this overlap")


def add_with_default(
    parser: argparse.ArgumentParser, flag: str, value: int | float, metavar: str, text: str
) -> None:
    parser.add_argument(
        flag,
        type=type(value),
        default=value,
        metavar=metavar,
        help=f"{text} (default: %(default)s)",
    )


def classification(args: argparse.Namespace, about: dict) -> str:
    check_output(args.output, (args.predictions, args.validation))
    table = read_predictions(args.predictions, args.classes)
    validation = read_predictions(args.validation, args.classes) if args.validation else None
    settings = ImageReportSettings(args.rule, args.sensitivity, args.resamples, args.seed)
    about["dataset"] = {"name": args.predictions.stem, "source": str(args.predictions.resolve())}
    results = report_images(table, args.output, validation, settings, about)
    write_predictions(table, args.output / PREDICTIONS)
    return describe(results)


def lesions(args: argparse.Namespace, about: dict) -> str:
    check_output(args.output, (args.truth, *args.detections))
    found = read_lesions(args.truth, args.detections, names_beside=True)
    settings = LesionReportSettings(
        score_thresh=args.score_thresh,
        min_area=args.min_area,
        pixel_score_thresh=args.pixel_score_thresh,
        froc_iou=args.froc_iou,
        resamples=args.resamples,
        seed=args.seed,
    )
    about["dataset"] = {"name": args.truth.stem, "source": str(args.truth.resolve())}
    return describe(report_lesions(found, args.output, settings, about))


def main() -> None:
    args = parse_args()
    about = {
        "model": args.name,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
    }
    print({"classification": classification, "lesions": lesions}[args.kind](args, about))
    print(f"results.json and figures are in {args.output}")


if __name__ == "__main__":
    run_script(main)
