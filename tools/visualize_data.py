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
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.utils.env import seed_all_rng
from tqdm import tqdm

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.data.registration import read_dataset
from ctmasknet.engine import Trainer, load_config
from ctmasknet.inference.data_figures import (
    Picture,
    save_contact_sheets,
    training_pictures,
    truth_pictures,
)
from ctmasknet.inference.dataset_slices import spread_over


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
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


def class_names(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lesion classes and image classes of a loaded data set."""
    known = MetadataCatalog.get(name)
    return tuple(known.get("thing_classes", ())), tuple(known.get("image_classes", ()))


def save_pages(pictures: Iterator[Picture], count: int, args: argparse.Namespace, stem: str, title):
    bar = tqdm(pictures, stem, count, unit="slice", disable=None)
    for path in save_contact_sheets(bar, args.output, stem, title):
        print(path)


def show_truth(cfg: CfgNode, args: argparse.Namespace) -> None:
    for name in cfg.DATASETS.TRAIN:
        records = read_dataset(name)
        chosen = [records[index] for index in spread_over(records, args.count)]
        title = f"{name}: {len(chosen)} of {len(records)} slices"
        pictures = truth_pictures(chosen, *class_names(name))
        save_pages(pictures, len(chosen), args, f"truth_{name}", title)


def show_batches(cfg: CfgNode, args: argparse.Namespace) -> None:
    seed_all_rng(cfg.SEED if cfg.SEED >= 0 else None)
    loader = Trainer.build_train_loader(cfg)
    names = class_names(cfg.DATASETS.TRAIN[0])
    pictures = islice(training_pictures(loader, cfg.INPUT.FORMAT, *names), args.count)
    title = f"training batches of {cfg.SOLVER.IMS_PER_BATCH}: {', '.join(cfg.DATASETS.TRAIN)}"
    save_pages(pictures, args.count, args, "batches", title)


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
    (show_truth if args.source == "truth" else show_batches)(cfg, args)


if __name__ == "__main__":
    run_script(main)
