#!/usr/bin/env python
"""Cross-validate a lesion config on slices with masks: train each fold, judge what it held out.

    cross_validate.py --data lesions.json --config-file configs/recipe/recipe_R18_T1.yaml \\
        --output output/cv
    cross_validate.py --data IMAGES MASKS --preset medseg --config-file CONFIG --output output/cv \\
        --only 0 SOLVER.MAX_ITER 200

Slices are dealt out by patient where the file tells them, else one by one. Folds that are finished
in --output are kept, an interrupted one goes on from its last checkpoint. The score from which a
fold's detections count as lesion pixels is chosen on the slices of the other finished folds, never
on its own. Slices of --lesion-free are in the training part of every fold. Those of
--lesion-free-check are predicted by every fold's model: its score threshold is then the best of
those from which it calls at most 0.5 % of them lesion. results.json and row.md of --output have the
numbers. KEY VALUE pairs at the end override the config. Research use only, not for diagnosis.
"""

import argparse
from pathlib import Path

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.data.classes import MASK_PRESETS
from ctmasknet.data.prepare import prepare_lesion_masks
from ctmasknet.engine.cross_validation import CrossValidation
from ctmasknet.evaluation.fold_report import table_row


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument(
        "--data",
        nargs="+",
        type=Path,
        required=True,
        metavar="PATH",
        help="a COCO file of lesions (.json), or two folders: slices and their masks",
    )
    parser.add_argument("--config-file", required=True, help="of a lesion model")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--only",
        metavar="I,J",
        help="train these folds alone, from 0 (default: all that are not finished)",
    )
    parser.add_argument("--folds", type=int, default=5, metavar="K", help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: %(default)s)")
    models = parser.add_mutually_exclusive_group()
    models.add_argument(
        "--start-from",
        type=Path,
        metavar="FOLDER",
        help="train each fold from the same fold's weights of another --output: a second step",
    )
    models.add_argument(
        "--weights-of",
        type=Path,
        metavar="FOLDER",
        help="train nothing: predict with the models of another --output under this config, to "
        "compare what is done at test time",
    )
    parser.add_argument(
        "--lesion-free",
        type=Path,
        metavar="FILE.json",
        help="slices without lesions to train on in every fold (ctmasknet prepare lesion-free); "
        "with DATALOADER.FILTER_EMPTY_ANNOTATIONS False",
    )
    parser.add_argument(
        "--lesion-free-check",
        type=Path,
        metavar="FILE.json",
        help="such slices, of other patients, to choose thresholds by and to report on",
    )
    meaning = parser.add_mutually_exclusive_group()
    meaning.add_argument("--preset", choices=MASK_PRESETS, default="cncb", help="of mask folders")
    meaning.add_argument("--values", metavar='"1=nodule,2=cavity"', help="of mask folders")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="of the config")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    only = [int(x) for x in args.only.split(",")] if args.only else None
    if len(args.data) > 2 or len(args.data) == 1 and args.data[0].suffix != ".json":
        found = " ".join(map(str, args.data))
        raise ValueError(f"--data {found}: expected a .json, or two folders: slices, masks")
    lesions = args.data[0]
    if len(args.data) == 2:
        lesions = args.output / "lesions.json"
        args.output.mkdir(parents=True, exist_ok=True)
        print(prepare_lesion_masks(*args.data, lesions, args.preset, args.values, "", 0))
    run = CrossValidation(
        args.config_file,
        lesions,
        args.output,
        args.folds,
        args.seed,
        tuple(args.opts),
        args.weights_of,
        args.start_from,
        args.lesion_free,
        args.lesion_free_check,
    )
    results = run.run(only)
    print(f"\nscore thresholds: {results['threshold_from']}")
    print("\n".join(f"{name}: {text}" for name, text in results["conventions"].items()))
    print(table_row(results))


if __name__ == "__main__":
    run_script(main)
