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
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.evaluation.image_report import ImageReportSettings, report_images
from ctmasknet.evaluation.image_text import describe_images
from ctmasknet.evaluation.lesion_files import read_lesions
from ctmasknet.evaluation.lesion_report import LesionReportSettings, report_lesions
from ctmasknet.evaluation.lesion_text import describe_lesions
from ctmasknet.evaluation.prediction_table import PREDICTIONS, read_predictions, write_predictions
from ctmasknet.provenance import machine

IMAGES, LESIONS = ImageReportSettings(), LesionReportSettings()


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    form = {"formatter_class": argparse.ArgumentDefaultsHelpFormatter}

    images = kinds.add_parser("classification", help="image classes, from a CSV", **form)
    images.add_argument("predictions", type=Path, metavar="FILE.csv")
    images.add_argument(
        "--validation",
        type=Path,
        metavar="VAL.csv",
        help="predictions on validation data: temperature, rule and operating points are fixed on "
        "them",
    )
    images.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="names in the order of the logits (None: the papers' three, or class_0 ...)",
    )
    images.add_argument(
        "--rule",
        help="how slices become one answer for a scan: mean, max, top_K_mean or share_above_T "
        "(None: the best on validation, or mean)",
    )
    images.add_argument(
        "--sensitivity",
        type=float,
        default=IMAGES.sensitivity,
        metavar="S",
        help="of the operating points",
    )

    lesions = kinds.add_parser("lesions", help="lesion instances, from COCO files", **form)
    lesions.add_argument("truth", type=Path, metavar="GROUND_TRUTH.json")
    lesions.add_argument(
        "detections",
        type=Path,
        nargs="+",
        metavar="DETECTIONS.json",
        help="COCO results; several (as of the folds of a cross-validation) are taken together",
    )
    lesions.add_argument(
        "--score-thresh",
        type=float,
        default=LESIONS.score_thresh,
        metavar="T",
        help="per-image AP: detections score above it",
    )
    lesions.add_argument(
        "--min-area",
        type=int,
        default=LESIONS.min_area,
        metavar="PX",
        help="per-image AP: lesions of at most so many pixels are background",
    )
    lesions.add_argument(
        "--pixel-score-thresh",
        type=float,
        default=LESIONS.pixel_score_thresh,
        metavar="T",
        help="Dice and areas: detections score at least it",
    )
    lesions.add_argument(
        "--froc-iou",
        type=float,
        default=LESIONS.froc_iou,
        metavar="IOU",
        help="FROC: a lesion is found at this overlap",
    )
    for kind in (images, lesions):
        kind.add_argument(
            "--output", type=Path, required=True, metavar="DIR", help="made if missing"
        )
        kind.add_argument(
            "--resamples",
            type=int,
            default=IMAGES.resamples,
            help="of the bootstrap; 0: no intervals",
        )
        kind.add_argument("--seed", type=int, default=IMAGES.seed, help="of the bootstrap")
    return parser.parse_args()


def classification(args: argparse.Namespace, about: dict) -> str:
    table = read_predictions(args.predictions, args.classes)
    validation = read_predictions(args.validation, args.classes) if args.validation else None
    settings = ImageReportSettings(args.rule, args.sensitivity, args.resamples, args.seed)
    about["dataset"] = {"name": args.predictions.stem, "source": str(args.predictions.resolve())}
    results = report_images(table, args.output, validation, settings, about)
    write_predictions(table, args.output / PREDICTIONS)
    return describe_images(results)


def lesions(args: argparse.Namespace, about: dict) -> str:
    found = read_lesions(args.truth, args.detections)
    settings = LesionReportSettings(
        score_thresh=args.score_thresh,
        min_area=args.min_area,
        pixel_score_thresh=args.pixel_score_thresh,
        froc_iou=args.froc_iou,
        resamples=args.resamples,
        seed=args.seed,
    )
    about["dataset"] = {"name": args.truth.stem, "source": str(args.truth.resolve())}
    return describe_lesions(report_lesions(found, args.output, settings, about))


def main() -> None:
    args = parse_args()
    about = {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
    }
    print({"classification": classification, "lesions": lesions}[args.kind](args, about))
    print(f"results.json and figures are in {args.output}")


if __name__ == "__main__":
    run_script(main)
