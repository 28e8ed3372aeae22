#!/usr/bin/env python
"""Draw the papers' figures for slices of a data set.

    tools/visualize.py --model demo --dataset phantom_test --lesions phantom_lesion_merge_test \\
        --output DIR
    tools/visualize.py --model CONFIG_OR_FOLDER --weights FILE.pth --dataset lesions.json \\
        --slice P0005/326.png --output DIR

Writes <slice>_figure2.png (the slice with its lesions, the score map of the masks, the truth, the
class logits) and, with a CT-Mask-Net, <slice>_figure3.png (scores of the ranked boxes, and scores
over areas). A data set is a registered name, or the path of a COCO file (.json) or of an image list
(.csv). Source: Ter-Sarkisov 2020, the paper on lightweight models. Research use only, not for
diagnosis.
"""

import argparse
from pathlib import Path

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.data.list_paths import add_data_root
from ctmasknet.inference import Predictor
from ctmasknet.report.dataset_slices import choose_slices
from ctmasknet.report.paper_figures import save_paper_figures
from ctmasknet.wording import counted


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_data_root(parser)
    parser.add_argument(
        "--model",
        required=True,
        help="config file, output folder of a training, name of a shipped config, or demo",
    )
    parser.add_argument("--weights", help="checkpoint (.pth); not needed for a folder or the demo")
    parser.add_argument("--lesion-model", help="take the lesions from another model")
    parser.add_argument("--lesion-weights", help="its checkpoint")
    parser.add_argument("--dataset", required=True, help="name or path")
    parser.add_argument(
        "--lesions", help="lesion data set (name or path) with the truth of an image list's slices"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--slice",
        nargs="+",
        metavar="FILE_OR_NUMBER",
        help="slices: files, the last parts of their paths, or numbers from 0 on",
    )
    which.add_argument(
        "--count",
        type=int,
        default=4,
        help="so many slices at equal distances (default: %(default)s)",
    )
    parser.add_argument("--output", required=True, type=Path, help="folder for the figures")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="config overrides: KEY VALUE ..., last"
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    slices = choose_slices(args.dataset, args.slice or (), args.count, args.lesions)
    predictor = Predictor(
        args.model,
        args.weights,
        lesion_model=args.lesion_model,
        lesion_weights=args.lesion_weights,
        opts=args.opts,
    )
    save_paper_figures(predictor, slices, args.output)
    print(f"figures of {counted(len(slices), 'slice')}: {args.output}")


if __name__ == "__main__":
    run_script(main)
