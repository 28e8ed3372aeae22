"""`ctmasknet prepare corrected`: lesions as a radiologist corrected them, to a COCO file."""

import argparse
from pathlib import Path

from ..command_line import add_skip_bad, new_subparser, options_of, print_skipped
from ..data.corrected import prepare_corrected

_DESCRIPTION = """Turn lesions corrected in CVAT or Label Studio into COCO JSON for training.

FOLDER is what `ctmasknet prepare correction` wrote, with the slices; CORRECTED is CVAT's export as
COCO 1.0 (.zip, or the .json in it) or Label Studio's as JSON. Slices that it lacks are left out.

  ctmasknet prepare correction scan.nii.gz --results results --output to_correct
  ctmasknet prepare corrected to_correct task.zip corrected.json
  ctmasknet train CONFIG --train lesions.json --train corrected.json
"""


def add_corrected(parts: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(
        parts,
        "corrected",
        _DESCRIPTION,
        _run_corrected,
        help="predictions corrected in CVAT or Label Studio to a COCO file",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("corrected", type=Path, metavar="CORRECTED")
    parser.add_argument("output", type=Path, metavar="OUT.json")
    add_skip_bad(parser)


def _run_corrected(args: argparse.Namespace) -> None:
    print(prepare_corrected(**options_of(args)))
    print_skipped(args.errors)
