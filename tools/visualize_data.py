#!/usr/bin/env python
"""Show the ground truth of a config's training data, or the batches that training sees.

    tools/visualize_data.py --config-file configs/quick/lesion_R18_T1.yaml --output DIR
    tools/visualize_data.py --config-file CONFIG --output DIR --source batches \\
        DATASETS.TRAIN "('lesions.json',)"

--source truth takes slices at equal distances from each of DATASETS.TRAIN, as the config's
INPUT.MASK_TYPE and MIN_LESION_AREA read them; --source batches draws what the training loader
gives after augmentation, before the model normalises it. Boxes and masks are drawn over the
slices; image lists have the class in the caption. Writes pages of 16 slices: DIR/truth_NAME_01.png
or DIR/batches_01.png, ... Research use only, not for diagnosis.
"""

import argparse
from pathlib import Path

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.data.list_paths import add_data_root
from ctmasknet.engine import load_config
from ctmasknet.report.data_figures import save_batches, save_truth


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_data_root(parser)
    parser.add_argument("--config-file", required=True, help="config of a training")
    parser.add_argument("--output", required=True, type=Path, help="folder for the pages")
    parser.add_argument(
        "--source",
        choices=("truth", "batches"),
        default="truth",
        help="what to draw (default: %(default)s)",
    )
    parser.add_argument(
        "--count", type=int, default=16, help="number of slices (default: %(default)s)"
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config overrides, last"
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # Regrouped data sets go to the output, not to the training's folder. Without workers, errors
    # reach the user as they are.
    ours = ("OUTPUT_DIR", str(args.output), "DATALOADER.NUM_WORKERS", "0")
    cfg = load_config(args.config_file, [*args.opts, *ours])
    if not cfg.DATASETS.TRAIN:
        raise ValueError(f"{args.config_file}: DATASETS.TRAIN is empty: name the data sets")
    if args.count < 1:
        raise ValueError(f"--count {args.count}: expected 1 or more slices")
    save = save_truth if args.source == "truth" else save_batches
    for path in save(cfg, args.count, args.output):
        print(path)


if __name__ == "__main__":
    run_script(main)
