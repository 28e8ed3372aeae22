"""`ctmasknet prepare`: what training reads, made from what one has."""

import argparse

from ..command_line import new_subparser
from ..wording import NOTICE
from .prepare_corrected import add_corrected
from .prepare_correction import add_correction
from .prepare_lesions import add_dataset, add_lesion_free, add_masks
from .prepare_slices import add_covidx, add_phantom, add_split
from .prepare_volumes import add_label_maps, add_volumes
from .prepare_weights import add_weights

_DESCRIPTION = f"""Make what training reads from what you have. {NOTICE}

  ctmasknet prepare masks IMAGES MASKS lesions.json --preset medseg
  ctmasknet prepare split slices.csv --parts train=0.7 val=0.1 test=0.2

`ctmasknet prepare WHAT --help` explains each.
"""


def add_prepare(commands: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(commands, "prepare", _DESCRIPTION)
    parts = parser.add_subparsers(required=True, metavar="WHAT")
    for add in (
        *(add_masks, add_lesion_free, add_dataset, add_volumes, add_label_maps, add_correction),
        *(add_corrected, add_covidx, add_split, add_phantom, add_weights),
    ):
        add(parts)
