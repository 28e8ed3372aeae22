#!/usr/bin/env python
"""Train, evaluate and look at both stages on drawn phantoms; `make demo` runs this.

Phantoms, lesion model, CT-Mask-Net, numbers and pictures, in under ten minutes on two CPU cores.
The pictures and summary.json land in the output folder. Research use only, not for diagnosis.
"""

import argparse
from pathlib import Path

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.commands.demo import Demo

if __name__ == "__main__":
    parser = new_parser(__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("output/demo"),
        help="folder for models, pictures and numbers (default: %(default)s)",
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, help="config overrides of both trainings: KEY VALUE ..."
    )
    args = parser.parse_args()
    run_script(lambda: Demo(args.output, args.opts).run())
