"""Every number and figure from files of predictions; no model is needed."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..atomic_write import atomic_files
from ..command_line import recorded_command
from ..evaluation.image_report import ImageReportSettings, report_images
from ..evaluation.lesion_files import read_lesions
from ..evaluation.lesion_report import LesionReportSettings, report_lesions
from ..evaluation.prediction_table import PREDICTIONS, read_predictions, write_predictions
from ..evaluation.results import RESULTS, check_output
from ..evaluation.text import describe
from ..provenance import machine

IMAGES, LESIONS = ImageReportSettings(), LesionReportSettings()
# Options of predictions -> what stands for them in a model's config.
PREDICTION_OPTIONS = {
    "name": "MODEL.NAME",
    "resamples": "TEST.BOOTSTRAP_RESAMPLES",
    "seed": "",
    "classes": "DATASETS.IMAGE_CLASSES",
    "rule": "TEST.AGGREGATION",
    "sensitivity": "TEST.SENSITIVITY",
    "score_thresh": "TEST.PER_IMAGE_AP_SCORE_THRESH",
    "min_area": "INPUT.MIN_LESION_AREA",
    "pixel_score_thresh": "TEST.PIXEL_SCORE_THRESH",
    "froc_iou": "",
}
_OF_IMAGES = ("rule", "sensitivity", "resamples", "seed")
_OF_LESIONS = ("score_thresh", "min_area", "pixel_score_thresh", "froc_iou", "resamples", "seed")


def add_prediction_options(parser: argparse.ArgumentParser) -> None:
    """Add what PREDICTION_OPTIONS lists; an option that is not given is None."""
    add = parser.add_argument_group("with --predictions").add_argument

    def add_number(flag: str, default: int | float, metavar: str, text: str) -> None:
        text = f"{text} (default: {default})"
        add(flag, type=type(default), metavar=metavar, help=text)

    add("--name", metavar="MODEL", help="of the model, for tables of results")
    add_number("--resamples", IMAGES.resamples, "N", "of the bootstrap; 0: no intervals")
    add_number("--seed", IMAGES.seed, "N", "of the bootstrap")
    add = parser.add_argument_group("with --predictions of slices (.csv)").add_argument
    add(
        "--classes",
        nargs="+",
        metavar="CLASS",
        help="names in the order of the logits (default: the papers' three, or class_0 ...)",
    )
    add(
        "--rule",
        help="how slices become one answer for a scan: mean, max, top_K_mean, share_above_T, or "
        "the file of a scan head (default: the best on validation, or mean)",
    )
    add_number("--sensitivity", IMAGES.sensitivity, "S", "of the operating points")
    add = parser.add_argument_group("with --predictions of lesions (.json)").add_argument
    lesions = LESIONS
    add_number("--score-thresh", lesions.score_thresh, "T", "per-image AP: detections score above")
    add_number("--min-area", lesions.min_area, "PX", "per-image AP: larger lesions only")
    add_number("--pixel-score-thresh", lesions.pixel_score_thresh, "T", "pixels: at least so sure")
    add_number("--froc-iou", lesions.froc_iou, "IOU", "FROC: a lesion is found at this overlap")


def evaluate_files(args: argparse.Namespace) -> str:
    """Write the report of args.predictions to args.output, and return it as text."""
    suffixes = {path.suffix.lower() for path in args.predictions}
    about = {
        "model": args.name,
        "command": recorded_command(args),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
    }
    if suffixes == {".csv"}:
        return _images(args, about)
    if suffixes == {".json"}:
        return _lesions(args, about)
    raise ValueError(
        f"--predictions {' '.join(map(str, args.predictions))}: expected one .csv file of slices, "
        "or .json files of detections"
    )


def _images(args: argparse.Namespace, about: dict[str, Any]) -> str:
    if len(args.predictions) > 1:
        raise ValueError("--predictions: several .csv files; join them, with the header once")
    if args.dataset:
        raise ValueError("--dataset: predictions of slices (.csv) hold their labels, leave it out")
    settings = ImageReportSettings(**_given(args, _OF_IMAGES, "image classes (.csv)", ("classes",)))
    (source,), validation = args.predictions, args.validation and Path(args.validation)
    check_output(args.output, (source, validation))
    table = read_predictions(source, args.classes)
    known = read_predictions(validation, args.classes) if validation else None
    about["dataset"] = _dataset(source, args)
    with atomic_files(args.output, last=RESULTS) as partial:
        results = report_images(table, partial, known, settings, about)
        write_predictions(table, partial / PREDICTIONS)
    return describe(results)


def _lesions(args: argparse.Namespace, about: dict[str, Any]) -> str:
    if not args.dataset:
        raise ValueError("--dataset is missing: name the ground truth of the detections (.json)")
    if args.validation:
        raise ValueError("--validation: is for image classes; nothing of lesions is fixed on it")
    settings = LesionReportSettings(**_given(args, _OF_LESIONS, "lesions (.json)"))
    truth = Path(args.dataset)
    if args.dataset in DatasetCatalog:
        truth = Path(MetadataCatalog.get(args.dataset).get("json_file", args.dataset))
    check_output(args.output, (truth, *args.predictions))
    found = read_lesions(truth, args.predictions, names_beside=True)
    about["dataset"] = _dataset(truth, args)
    return describe(report_lesions(found, args.output, settings, about))


def _dataset(file: Path, args: argparse.Namespace) -> dict[str, str]:
    source = str(file.resolve()) if args.keep_identifiers else file.name
    return {"name": file.stem, "source": source}


def _given(
    args: argparse.Namespace, mine: tuple[str, ...], kind: str, others: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the settings that were given; ValueError for one that is not of this kind."""
    for option in PREDICTION_OPTIONS:
        if option not in (*mine, *others, "name") and getattr(args, option) is not None:
            raise ValueError(
                f"--{option.replace('_', '-')}: has no meaning for predictions of {kind}"
            )
    return {name: getattr(args, name) for name in mine if getattr(args, name) is not None}
