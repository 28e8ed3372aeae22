#!/usr/bin/env python
"""Cross-validate several classifiers on the same slices, and compare them.

    compare_heads.py --runs tools/heads.txt --images slices.csv --output output/heads
    compare_heads.py --runs tools/heads.txt --images slices.csv --output output/heads --only 0 \\
        --jobs 8 --lesions medseg.json

--runs lists them, one a line: NAME CONFIG [KEY VALUE ...]; the others are compared with the first.
Slices are dealt out by the column patient of --images, or one by one where it repeats the file, in
equal shares of each label. Each fold of a run is a training of its own (`ctmasknet train`), --jobs
of them at a time, in --output/NAME/fold_I; its last weights are judged on the slices that it has
not seen. Folds that are finished are kept, interrupted ones go on. results.json, table.md and
comparison.png of --output have accuracy, AUROC, sensitivities and calibration of what is finished,
and paired differences with intervals. KEY VALUE pairs at the end override all configs. Research use
only, not for diagnosis.
"""

import argparse
from pathlib import Path

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.engine.fold_runs import FoldRuns, read_runs
from ctmasknet.evaluation.run_comparison import runs_table


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--runs", type=Path, required=True, metavar="FILE.txt")
    add("--images", type=Path, required=True, metavar="FILE.csv", help="an image list")
    add("--output", type=Path, required=True, metavar="FOLDER")
    add(
        "--weights",
        default="",
        metavar="MODEL",
        help="lesion model that configs which read boxes start from (default: each config's own)",
    )
    add("--lesions", type=Path, metavar="FILE.json", help="lesions for one-shot configs")
    add("--names", metavar="A,B", help="these runs alone, with the first of --runs")
    add("--only", metavar="I,J", help="these folds alone, from 0")
    add("--folds", type=int, default=5, metavar="K", help="(default: %(default)s)")
    add("--seed", type=int, default=0, help="of the split (default: %(default)s)")
    add("--jobs", type=int, default=1, metavar="N", help="trainings at a time (default: 1)")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="of all configs")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    runs = read_runs(args.runs)
    if args.names:
        wanted = args.names.split(",")
        if unknown := sorted(set(wanted) - {run.name for run in runs}):
            raise ValueError(f"--names {unknown[0]}: not in {args.runs}")
        runs = [run for i, run in enumerate(runs) if run.name in wanted or i == 0]
    only = [int(x) for x in args.only.split(",")] if args.only else None
    experiment = FoldRuns(
        *(runs, args.images, args.output, args.weights, args.lesions),
        *(args.folds, args.seed, tuple(args.opts)),
    )
    print(runs_table(experiment.run(only, args.jobs)))


if __name__ == "__main__":
    run_script(main)
