"""`ctmasknet pack`: a training run as one file, a whole model."""

import argparse
from pathlib import Path

from ..command_line import new_subparser
from ..data.window import LUNG, Window
from ..inference.model_spec import find_model
from ..inference.pack import pack_model
from ..provenance import sha256_of
from ..shipped_models import is_model_file
from ..wording import NOTICE
from .info_model import kind_in_words, size_in_words

_DESCRIPTION = f"""Put a trained model into one file, to keep or to share. {NOTICE}

OUT.safetensors holds the weights in float16 and, as its metadata, the config without paths of this
machine, classes, window, field of view, terms and a SHA-256 that is checked whenever it is read.
No code can be in it. Commands take it wherever they take a model, or weights to start from.

  ctmasknet pack output/R18_T1 lesions.safetensors --name lesions --license CC-BY-4.0
  ctmasknet predict scan.nii.gz --model lesions.safetensors --output results
"""


def add_pack(commands: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(commands, "pack", _DESCRIPTION, run_pack)
    add = parser.add_argument
    add("model", metavar="MODEL", help="a training run's folder, or a config with --weights")
    add("output", type=Path, metavar="OUT.safetensors", help="replaced if it is there")
    add("--weights", metavar="FILE", help="checkpoint (.pth); not needed with a run's folder")
    add("--name", help="of the model in results (default: its config's)")
    add("--license", default="", metavar="TEXT", help="of the weights, as CC-BY-4.0")
    add("--terms", default="", metavar="TEXT", help="of use and of the training data, in a line")
    add(
        "--window",
        help="of the slices it was trained on: a name or width,level (default: INPUT.WINDOW of its "
        f"config, the papers' {LUNG} unless it says otherwise)",
    )
    add(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        help="config overrides that the file keeps (KEY VALUE ...), last: INPUT.FIELD_OF_VIEW lung "
        "TEST.PIXEL_SCORE_THRESH 0.3",
    )


def run_pack(args: argparse.Namespace) -> None:
    """Run `ctmasknet pack`; raises a FileNotFoundError or ValueError where it cannot go on."""
    spec = find_model(args.model, args.weights, args.opts)
    if is_model_file(Path(spec.weights)):
        raise ValueError(f"{spec.weights}: is a model in one file already")
    name, window = args.name or spec.name, Window.parse(args.window or spec.window)
    rounding = pack_model(spec, args.output, name, window, args.license, args.terms)
    print(f"{args.output}: {kind_in_words(spec)} {name}, {size_in_words(args.output)}")
    cfg = spec.cfg
    seen = f"window {window}, field of view {cfg.INPUT.FIELD_OF_VIEW}"
    if spec.lesion_classes:
        seen += f", lesions from a score of {cfg.TEST.PIXEL_SCORE_THRESH:g}"
    print(seen)
    print(f"SHA-256: {sha256_of(args.output)}")
    print(
        f"float16 changes weights by {rounding.change:.2g} at most ({rounding.tensor}, up to "
        f"{rounding.size:.2g})"
    )
