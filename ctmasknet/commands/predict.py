"""`ctmasknet predict`: its arguments, and what it prints."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..command_line import add_names, new_subparser, open_names
from ..data.window import LUNG, Window
from ..extras import require
from ..fast.malloc import keep_freed_memory
from ..inference.inputs import Input, find_inputs
from ..inference.predictor import Predictor
from ..modeling.precision import PRECISIONS
from ..pseudonyms import NAMES_FILE
from ..quantification.build_case import QuantificationOptions
from ..quantification.hidden_case import name_inputs
from ..quantification.lung_rules import FIELD_OF_VIEW, RULES
from ..quantification.lung_source import THRESHOLD, LungSource
from ..report.case_files import RESULT
from ..shipped_models import names_in_words
from ..wording import NOTICE
from .predict_inputs import predict_inputs
from .results import SUMMARY, with_identifiers

_DESCRIPTION = f"""Find lesions in chest CT, measure them, and classify slices and scans. {NOTICE}

INPUT is a scan (a folder or zip of DICOM files, .nii, .nii.gz, .nrrd, .mha, .mhd), an 8-bit image,
or a folder with any of these at any depth: each DICOM series and each volume file is a scan, the
images of a folder are slices that are taken one by one. DIR/<name> of each gets report.html (to
look at), result.json, lesions.csv, masks and, with a CT-Mask-Net, ranked_boxes.csv; DIR/{SUMMARY}
has a line for each.

Results name no patient, file or UID: <name> is a pseudonym, and {NAMES_FILE} beside DIR tells
whose it is. With --keep-identifiers <name> is that of the file or folder.

  ctmasknet demo                                              # trains two models on phantoms
  ctmasknet predict scan.nii.gz dicom/ --model demo --output results
  ctmasknet predict scans/ --model output/R18_T1_heads_BN --lesion-model output/R18_T1 \\
      --output results
"""


def add_predict(commands: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(commands, "predict", _DESCRIPTION, run_predict)
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="scans, images, folders")
    add("--output", required=True, type=Path, metavar="DIR", help="folder for the results")
    add_names(parser, "results, and write DICOM segmentations, which need them")
    add(
        "--no-viewer",
        action="store_true",
        help="leave all but the key slices of scans out of reports, which are small then",
    )
    add = parser.add_argument_group("model").add_argument
    add(
        "--model",
        required=True,
        help="a training run's folder, a model file (.safetensors), the name of a model in the "
        f"package ({names_in_words()}), demo, or a config with --weights; a path here wins over a "
        "name",
    )
    add(
        "--weights",
        help="checkpoint (.pth) of a config; other models have their own",
    )
    add(
        "--lesion-model",
        help="lesion model to take lesions from, as a CT-Mask-Net finds boxes but no masks",
    )
    add("--lesion-weights", help="its checkpoint, if it is a config")
    add("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda, cuda:1, ...")
    add(
        "--precision",
        choices=PRECISIONS,
        help="of convolutions and matrices; auto is what the hardware is best at (default: each "
        "model's own, which is auto but for the author's)",
    )
    add("--batch-size", type=int, default=8, help="default: %(default)s")
    add(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        help="config overrides of --model: KEY VALUE ..., last",
    )
    _add_quantification(parser.add_argument_group("what is measured"))
    group = parser.add_argument_group("results that are there already")
    add = group.add_mutually_exclusive_group().add_argument
    add(
        "--resume",
        action="store_true",
        help="skip what is done with the same model, settings and input",
    )
    add("--overwrite", action="store_true", help="replace them")


def _add_quantification(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--min-score",
        type=float,
        help="leave out lesions that score lower (default: the config's TEST.PIXEL_SCORE_THRESH)",
    )
    add(
        "--window",
        help="of HU, and what 8-bit images are taken to have: a name or width,level (default: the "
        f"model file's, or lung, {LUNG})",
    )
    add(
        "--aggregation",
        help="from slices to scan: mean, max, top_<k>_mean, share_above_<t>, or the file of a "
        "scan head (default: the config's TEST.AGGREGATION, or mean)",
    )
    add(
        "--as-scan",
        action="store_true",
        help="take the images of a folder as one scan, from feet to head in the order of names",
    )
    add("--series", metavar="UID", help="SeriesInstanceUID to take of a zip that holds several")
    add(
        "--segment-codes",
        type=Path,
        metavar="FILE.csv",
        help="name,value,scheme,meaning: DICOM codes of lesion classes, for lesions.seg.dcm; what "
        "--resume skips keeps its own",
    )
    add = group.add_mutually_exclusive_group().add_argument
    add(
        "--lung",
        metavar="LUNG",
        default=THRESHOLD,
        help="threshold (default): found by its density; lungmask: by that package, if it is there "
        "with its weights; or a lung mask of the only input, or a folder with one for each scan or "
        "slice, of its name. A mask of a scan with five values is taken as its lobes",
    )
    add("--no-lung", action="store_true", help="do not look for the lung")
    group.add_argument(
        "--without",
        action="append",
        default=[],
        choices=RULES,
        metavar="RULE",
        help="switch a rule off; may be repeated: "
        + "; ".join(f"{name}: {what}" for name, what in RULES.items()),
    )


def run_predict(args: argparse.Namespace) -> int:
    """Run `ctmasknet predict` and return its exit code, 2 if anything could not be used.

    Raises a FileNotFoundError or ValueError where nothing can be done at all.
    """
    keep_freed_memory()
    require("report")
    inputs, problems, left_out = find_inputs(args.inputs, args.as_scan)
    if any(item.is_scan for item in inputs):
        require("ct")
    lung = LungSource("") if args.no_lung else LungSource.parse(args.lung)
    rules = frozenset(RULES) - set(args.without)
    options = QuantificationOptions(Window.parse(args.window or LUNG), lung, args.series, rules)
    if args.segment_codes:
        require("ct")
        from ..quantification.segment_codes import register_segment_codes

        register_segment_codes(args.segment_codes)
    names = open_names(args) if inputs else None
    if names:
        inputs = name_inputs(inputs, names)
    _check_output(args, inputs)
    _check_lung_masks(lung, inputs)
    if inputs:
        predictor = Predictor(
            args.model,
            args.weights,
            args.device,
            lesion_model=args.lesion_model,
            lesion_weights=args.lesion_weights,
            min_score=args.min_score,
            aggregation=args.aggregation,
            batch_size=args.batch_size,
            precision=args.precision,
            window=args.window,
            field_of_view=None if FIELD_OF_VIEW in rules else "image",
            opts=args.opts,
        )
        options = replace(options, window=predictor.window)
        print(f"computing in {predictor.precision} on {predictor.device}")
        try:
            run = predict_inputs(
                predictor,
                inputs,
                args.output,
                options,
                args.command_line,
                args.resume,
                names,
                not args.no_viewer,
            )
        except KeyboardInterrupt:
            print(f"\ninterrupted; what is done is in {args.output}: go on with --resume")
            return 130
        problems += run.problems
        before = f", {len(run.resumed)} of them before" if run.resumed else ""
        place = f": {args.output / SUMMARY}" if run.results else ""
        print(f"{len(run.results)} of {len(inputs)} predicted{before}{place}. {NOTICE}")
        if names:
            print(f"{names.path}: whose the pseudonyms are; keep it to yourself")
    for item in inputs:
        if item.note:
            print(f"note: {item.name}: {item.note}")
    for line in left_out:
        print(f"left out: {line}")
    for line in problems:
        print(f"error: {line}", file=sys.stderr)
    return 2 if problems else 0


def _check_output(args: argparse.Namespace, inputs: Sequence[Input]) -> None:
    """Refuse an output that cannot be written, lies in an input or holds something else."""
    if args.output.exists() and not args.output.is_dir():
        raise ValueError(f"{args.output}: is a file, expected a folder for the results")
    there = next(path for path in (args.output, *args.output.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK):
        raise PermissionError(f"{there}: cannot be written to; name another --output")
    for folder in filter(Path.is_dir, map(Path, args.inputs)):
        if args.output.resolve().is_relative_to(folder.resolve()):
            raise ValueError(
                f"--output {args.output} lies in the input {folder}, which would find the results "
                "the next time: name another folder"
            )
    for folder in (args.output / item.folder for item in inputs):
        if folder.exists() and not (folder / RESULT).is_file():
            raise ValueError(f"{folder}: is there and holds no {RESULT}; name another --output")
        if folder.exists() and not (args.resume or args.overwrite):
            raise ValueError(
                f"{folder}: holds results already; use --resume, --overwrite or another --output"
            )
    if not args.keep_identifiers and (kept := with_identifiers(args.output)):
        raise ValueError(
            f"{kept[0]}: has results with identifiers: name another --output, or --keep-identifiers"
        )


def _check_lung_masks(lung: LungSource, inputs: Sequence[Input]) -> None:
    """Refuse lung masks that are not there, or one for several scans or slices."""
    slices = sum(1 if item.is_scan else len(item.files) for item in inputs)
    if lung.path and slices > 1 and not lung.path.is_dir():
        raise ValueError(
            f"--lung {lung.path}: one mask for {slices} scans or slices; give a folder with a mask "
            "for each, of its name"
        )
    for item in inputs:
        lung.masks(item)
