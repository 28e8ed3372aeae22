"""`ctmasknet prepare weights`: checkpoints of other projects to ours."""

import argparse
from pathlib import Path

from ..checkpoint.convert import convert_reference_checkpoint, convert_torchvision_checkpoint
from ..checkpoint.tensor_files import read_tensors
from ..command_line import new_subparser
from ..data.mask_rule import PAPERS_RULES

_WEIGHTS = """Convert weights that you have; nothing is downloaded, and no code in them is run.

IN.pth is the state dict of a torchvision ResNet-18, 34 or 50, such as its ImageNet weights: OUT.pth
is then a starting point for every lesion config of that depth.

  ctmasknet prepare weights resnet18.pth R18_imagenet.pth
  ctmasknet train R18_T1 --weights R18_imagenet.pth --train lesions.json

Or it is a lesion model or classifier of the author of COVID-CT-Mask-Net: OUT.yaml is then the
config under which OUT.pth gives the author's answers. Backbone, truncation, classes, N and the
features of module S are read from the tensors.

  ctmasknet prepare weights theirs.pth ours.pth
  ctmasknet evaluate --model ours.yaml --weights ours.pth --dataset test.csv --output results
"""


def add_weights(parts: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(
        parts, "weights", _WEIGHTS, _run, help="torchvision's or the author's to ours"
    )
    parser.add_argument("input", type=Path, metavar="IN.pth")
    parser.add_argument("output", type=Path, metavar="OUT.pth")
    add = parser.add_argument_group("the author's files").add_argument
    add(
        "--mask-type",
        choices=PAPERS_RULES,
        help="what the lesion classes are; a file with one class does not tell merge from ggo "
        "(default: merge with one class, both with two)",
    )
    add(
        "--frozen-eps",
        type=float,
        metavar="E",
        help="for lesion models with frozen norms (R50 before November 2020): what the norms added "
        "to the variance; torchvision before 0.9 added 0 (default: 1e-5, as torchvision since)",
    )


def _run(args: argparse.Namespace) -> None:
    if not _is_the_authors(args.input):
        if args.mask_type or args.frozen_eps is not None:
            raise ValueError(
                f"{args.input}: --mask-type and --frozen-eps are for the author's files; this is "
                "none of them"
            )
        print(convert_torchvision_checkpoint(args.input, args.output))
        print(f"wrote {args.output}")
        return
    eps = 1e-5 if args.frozen_eps is None else args.frozen_eps
    description, report = convert_reference_checkpoint(
        args.input, args.output, args.mask_type or "", eps
    )
    print(f"{args.input}: {description}\n\n{report}\n")
    print(f"wrote {args.output} and {args.output.with_suffix('.yaml')}")


def _is_the_authors(path: Path) -> bool:
    if not path.is_file():
        return False  # the conversion says so
    try:
        content = read_tensors(path)
    except ValueError:
        # It holds more than tensors; if it is no checkpoint at all, their reader says so.
        return True
    return isinstance(content, dict) and "model_weights" in content
