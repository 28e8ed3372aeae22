#!/usr/bin/env python
"""Find lesions in CT slices (8-bit PNG or JPEG, already windowed) and draw them.

    tools/predict.py --config-file configs/quick/lesion_R18_T1.yaml \\
        --weights output/demo/lesion_R18_T1/model_best.pth IMAGE_OR_FOLDER... --output DIR

Writes DIR/<name>_overlay.png and DIR/<name>.json for each image. With the config and weights of a
CT-Mask-Net the image's class is given too. Research use only, not for diagnosis.
"""

import argparse
import sys
from pathlib import Path

from ctmasknet.command_line import new_parser
from ctmasknet.engine import load_config
from ctmasknet.inference import Predictor
from ctmasknet.inference.slices import find_slices, predict_files


def parse_args():
    parser = new_parser(__doc__)
    parser.add_argument("--config-file", required=True, help="config of the model")
    parser.add_argument("--weights", required=True, help="checkpoint (.pth) of the model")
    parser.add_argument("inputs", nargs="+", metavar="IMAGE", help="image files or folders")
    parser.add_argument("--output", required=True, type=Path, help="folder for the results")
    parser.add_argument(
        "--min-score",
        type=float,
        default=0.5,
        help="leave out lesions below (default: %(default)s)",
    )
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="config overrides: KEY VALUE ..., last"
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    try:
        if args.output.exists() and not args.output.is_dir():
            raise ValueError(f"{args.output}: is a file, expected a folder for the results")
        files = find_slices(args.inputs)
        cfg = load_config(args.config_file, args.opts, datasets=False)
        predictor = Predictor(cfg, args.weights)
        problems = predict_files(predictor, files, args.output, args.min_score)
    except (OSError, ValueError, KeyError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print(f"{len(files) - len(problems)} of {len(files)} slices predicted: {args.output}")
    return 2 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
