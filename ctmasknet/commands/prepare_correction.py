"""`ctmasknet prepare correction`: predictions to programs in which they are corrected."""

import argparse
import os
import shutil
from pathlib import Path

from ..command_line import new_subparser
from ..data.label_studio import LOCAL_FILES
from ..extras import require
from ..inference.inputs import Input, find_inputs
from ..pseudonyms import Names, names_file
from ..quantification.hidden_case import name_inputs
from ..report.correction_files import export_slices
from ..report.correction_volumes import export_volumes
from ..report.written_results import Result, read_results
from ..wording import NOTICE
from .results import with_identifiers

_DESCRIPTION = f"""Write predicted lesions for programs in which they are corrected. {NOTICE}

INPUT is what was given to `ctmasknet predict`, RESULTS the folder that it wrote. DIR gets the
slices as PNG in the window of the models, and their lesions: for CVAT as COCO, for Label Studio as
tasks with predictions. `ctmasknet prepare corrected` makes a data set of what comes back. Or, with
--format volumes, DIR gets scans and label maps for 3D Slicer and ITK-SNAP, which
`ctmasknet prepare volumes` takes back.

  ctmasknet predict scan.nii.gz --model medseg --output results
  ctmasknet prepare correction scan.nii.gz --results results --output to_correct
  ctmasknet prepare correction scan.nii.gz --results results --output to_correct \\
      --format label-studio
"""
FORMATS = ("cvat", "label-studio", "volumes")


def add_correction(parts: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(
        parts,
        "correction",
        _DESCRIPTION,
        run_correction,
        help="predictions to CVAT, Label Studio, 3D Slicer or ITK-SNAP",
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="scans, images, folders, as they were predicted")
    add("--results", required=True, type=Path, metavar="RESULTS", help="folder of their results")
    add("--output", required=True, type=Path, metavar="DIR", help="new or empty folder")
    add("--format", choices=FORMATS, default=FORMATS[0], help="default: %(default)s")
    add(
        "--image-url",
        default=LOCAL_FILES,
        metavar="URL",
        help="what Label Studio puts before the names of slices (default: %(default)s, its own "
        "storage of local files)",
    )
    add("--as-scan", action="store_true", help="as for predict")
    add(
        "--names",
        type=Path,
        metavar="FILE",
        help="the file of pseudonyms of the results (default: beside RESULTS)",
    )


def run_correction(args: argparse.Namespace) -> None:
    """Run `ctmasknet prepare correction`.

    Raises a FileNotFoundError or ValueError where inputs or results lack or do not fit.
    """
    inputs, problems, _ = find_inputs(args.inputs, args.as_scan)
    if problems:
        raise ValueError(problems[0])
    if any(item.is_scan for item in inputs):
        require("ct")
    if args.output.exists() and (not args.output.is_dir() or any(args.output.iterdir())):
        raise ValueError(f"{args.output}: is there already, expected a new or empty folder")
    results = _find_results(args, inputs)
    target = args.output.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if args.format == "volumes":
            found = export_volumes(results, partial)
        else:
            url = args.image_url if args.format == "label-studio" else None
            found = export_slices(results, partial, url)
        if target.exists():
            target.rmdir()
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{args.output}: {found}. {NOTICE}")


def _find_results(args: argparse.Namespace, inputs: list[Input]) -> list[Result]:
    """Return the results of inputs, under their names or their pseudonyms."""
    if not args.results.is_dir():
        raise FileNotFoundError(f"{args.results}: no such folder of results")
    if with_identifiers(args.results):
        return [read_results(args.results / item.folder, item) for item in inputs]
    names = Names.existing(names_file(args.results, args.names))
    hidden = name_inputs(inputs, names)
    return [read_results(args.results / item.folder, item, names.reveal) for item in hidden]
