#!/usr/bin/env python3
"""Convert a checkpoint of the author of COVID-CT-Mask-Net, lesion model or classifier.

Writes OUT.pth for MODEL.WEIGHTS and OUT.yaml, the config under which it gives the author's
answers:

    python tools/convert_reference_checkpoint.py theirs.pth ours.pth
    python tools/train_net.py --config-file ours.yaml --eval-only DATASETS.TEST "('test.csv',)"

Backbone, truncation, classes, N and the features of module S are read from the tensors. No code
from the file is run.
"""

from pathlib import Path

from ctmasknet.checkpoint.convert import convert_reference_checkpoint
from ctmasknet.command_line import new_parser, run_script
from ctmasknet.data.mask_rule import PAPERS_RULES


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("input", type=Path, metavar="IN.pth", help="the author's checkpoint")
    parser.add_argument("output", type=Path, metavar="OUT.pth")
    parser.add_argument(
        "--mask-type",
        choices=PAPERS_RULES,
        help="what the lesion classes are; a file with one class does not tell merge from ggo "
        "(default: merge with one class, both with two)",
    )
    parser.add_argument(
        "--frozen-eps",
        type=float,
        default=1e-5,
        metavar="E",
        help="for files with frozen norms (before November 2020): what the norms added to the "
        "variance; torchvision before 0.9 added 0 (default: %(default)g, as torchvision since)",
    )
    args = parser.parse_args()
    description, report = convert_reference_checkpoint(
        args.input, args.output, args.mask_type or "", args.frozen_eps
    )
    print(f"{args.input}: {description}\n\n{report}\n")
    print(f"wrote {args.output} and {args.output.with_suffix('.yaml')}")


if __name__ == "__main__":
    run_script(main)
