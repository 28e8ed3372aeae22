#!/usr/bin/env python3
"""Make a downloaded lesion data set ready for training under its registered names.

    prepare_lesion_dataset.py cncb      cncb_lesion_train, _val, _test
    prepare_lesion_dataset.py medseg    medseg_lesion_train, _val, _test

Slices and masks lie as datasets/README.md says under $DETECTRON2_DATASETS (default: datasets).
Written are lesion_{train,val,test}.json beside them, with GGO and consolidation apart and lesions
of all sizes: a model's config says what it makes of them (INPUT.MASK_TYPE, MIN_LESION_AREA).
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from ctmasknet.command_line import add_skip_bad, new_parser, print_skipped, run_script
from ctmasknet.data.builtin import BY_RANK, LESION_TREES, datasets_root
from ctmasknet.data.classes import SPLITS
from ctmasknet.data.lesion_masks import coco_from_pairs
from ctmasknet.data.lesion_parts import parts_by_lists, write_parts
from ctmasknet.data.mask_pairs import pair_files, with_flattened_patients
from ctmasknet.data.splits import split_coco
from ctmasknet.volumes.window import say_windowed_once


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("dataset", choices=LESION_TREES)
    parser.add_argument(
        "--root", type=Path, help="folder of the data set, if not $DETECTRON2_DATASETS/<name>"
    )
    parser.add_argument(
        "--split",
        type=float,
        nargs=3,
        default=(0.7, 0.1, 0.2),
        metavar=("TRAIN", "VAL", "TEST"),
        help="shares of the patients (of the slices where patients are unknown); default: "
        "0.7 0.1 0.2",
    )
    parser.add_argument(
        "--lists",
        nargs=2,
        metavar=("TRAIN.txt", "TEST.txt"),
        help="split by published lists of file names instead",
    )
    parser.add_argument(
        "--val-fraction",
        type=float,
        default=0.0,
        metavar="F",
        help="with --lists: share of the training patients kept for validation (default: none)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: %(default)s)")
    parser.add_argument(
        "--by-rank",
        action="store_true",
        help="cncb: read mask values by their rank in the slice, as the author's code does, into "
        "cncb_lesion_by_rank_*; for comparison only, it calls lesions wrongly",
    )
    add_skip_bad(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    tree = LESION_TREES[args.dataset]
    if args.by_rank and args.dataset != "cncb":
        raise ValueError("--by-rank: the author's code knows CNCB's masks only")
    if not 0 <= args.val_fraction < 1 or (args.val_fraction and not args.lists):
        raise ValueError("--val-fraction: expected 0 to below 1, together with --lists")
    root = args.root or datasets_root() / tree.folder
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; expected {tree.layout} in it")
    say_windowed_once()
    pairs = pair_files(root / tree.images, root / tree.masks, args.errors)
    if args.dataset == "cncb":
        pairs = with_flattened_patients(pairs)
    make = partial(
        coco_from_pairs,
        root=root,
        values=tree.values,
        mask_type="both",
        min_area=0,
        by_rank=args.by_rank,
        whole_images=True,
        errors=args.errors,
    )
    if args.lists:
        lists = dict(zip(("train", "test"), args.lists, strict=True))
        parts = parts_by_lists(pairs, make, lists, args.val_fraction, args.seed)
    else:
        parts = split_coco(make(pairs), dict(zip(SPLITS, args.split, strict=True)), args.seed)
    stem = BY_RANK if args.by_rank else "lesion"
    print(write_parts(parts, root / f"{stem}.json"))
    for part in set(SPLITS) - set(parts):
        # An older one would share patients with the new parts.
        (root / f"{stem}_{part}.json").unlink(missing_ok=True)
        print(f"no {part} part (see --val-fraction)")
    if not any("patient" in extra for _, _, extra in pairs):
        print("patients are unknown: one patient's slices may be in two parts")
    print_skipped(args.errors)


if __name__ == "__main__":
    run_script(main)
